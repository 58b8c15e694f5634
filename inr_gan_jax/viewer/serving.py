"""Starts the server: socket, compilation, URL to open.

The libraries of the server are imported inside functions, after `check_available`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from inr_gan_jax.errors import UserError
from inr_gan_jax.progress import Progress

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator

_NEEDED = ("starlette", "uvicorn", "cachetools")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_TOKEN_BYTES = 18
# Connections at once; a browser opens six.
_MAX_CONNECTIONS = 512
_MAX_REQUEST_BYTES = 2**14


def check_available() -> None:
    """Checks that the web server is installed.

    Raises:
        UserError: if a library is missing.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"the viewer needs {', '.join(missing)}: pip install 'inr_gan_jax[viewer]'")


def open_socket(host: str, port: int) -> socket.socket:
    """Opens a port before any work; connections wait until the server runs.

    Args:
        host: IP address or name of this machine.
        port: 0 for any free one.

    Raises:
        UserError: if it is unavailable.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UserError(
            f"host is {host!r}, expected an IP address or name of this machine ({error.strerror})"
        ) from error
    listener = socket.socket(family, kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        raise UserError(
            f"port {port} of {host} is unavailable ({error.strerror}); end the program that uses it, or choose another "
            "with --port"
        ) from error
    return listener


def serve(loaded: LoadedGenerator, listener: socket.socket, host: str, token: str | None = None) -> None:
    """Compiles the programs, prints the URL, and serves until interrupted.

    Args:
        loaded: the generator, a continuous one.
        listener: socket to listen on.
        host: as given by the user; hosts other than the loopback need a token.
        token: required in requests; None to generate one if needed.
    """
    from inr_gan_jax.viewer.access import AccessSettings
    from inr_gan_jax.viewer.drawing import Drawing
    from inr_gan_jax.viewer.programs import pieces_for_device

    name = f"[{host}]" if ":" in host else host
    is_private = name in LOOPBACK
    if not is_private:
        token = token or secrets.token_urlsafe(_TOKEN_BYTES)
    drawing = Drawing(loaded, pieces_for_device())
    prepare(drawing)
    server = made_server(drawing, AccessSettings(hosts=LOOPBACK if is_private else None, token=token))
    port = listener.getsockname()[1]
    print(f"viewer: http://{name}:{port}/{f'?token={token}' if token else ''} (Ctrl-C stops it)", flush=True)
    server.run(sockets=[listener])


def made_server(drawing: Any, access: Any, closes_drawing: bool = True) -> Any:
    """Creates a `uvicorn.Server`.

    Args:
        drawing: a `Drawing`, prepared or not.
        access: `AccessSettings`.
        closes_drawing: whether the drawing ends with the server.
    """
    import uvicorn

    from inr_gan_jax.viewer.server import ViewerServer

    # Clients that are too slow get no answer on purpose.
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    return uvicorn.Server(
        uvicorn.Config(
            ViewerServer(drawing).application(access, closes_drawing),
            log_level="error",
            access_log=False,
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            h11_max_incomplete_event_size=_MAX_REQUEST_BYTES,
            http="h11",
            ws="none",
            # Longer than people look at one view.
            timeout_keep_alive=60,
            timeout_graceful_shutdown=2,
        )
    )


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("ASGI callable returned without")


@contextlib.contextmanager
def in_background(server: Any, listener: socket.socket) -> Iterator[str]:
    """Runs a server in a thread; yields its URL, and stops it at the end."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


def prepare(drawing: Any) -> None:
    """Compiles all programs, showing progress."""
    started = time.perf_counter()
    with Progress("compile", drawing.num_steps, unit="steps") as progress:
        for _ in drawing.prepare():
            progress.add(1)
    print(f"viewer: {drawing.programs.count} programs for all places and levels, {time.perf_counter() - started:.1f} s")

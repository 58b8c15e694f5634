"""From a generator to a running server: the socket, the start, the address to open.

The libraries of the server are imported where they are needed: `check_available` comes before.
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
_MOST_CONNECTIONS = 512
_LONGEST_REQUEST = 2**14


def check_available() -> None:
    """Checks that there is a web server at all.

    Raises:
        UserError: if a library is missing.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"the viewer needs {', '.join(missing)}: pip install 'inr_gan_jax[viewer]'")


def open_socket(host: str, port: int) -> socket.socket:
    """Takes a port before any work is done; whoever connects is served when the server runs.

    Args:
        host: address or name of this machine.
        port: 0 for any that is free.

    Raises:
        UserError: if it cannot be taken.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UserError(f"host is {host!r}, expected an address or name of this machine ({error.strerror})") from error
    listener = socket.socket(family, kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        raise UserError(
            f"port {port} of {host} cannot be taken ({error.strerror}); end the program that has it, or choose another "
            "by --port"
        ) from error
    return listener


def serve(loaded: LoadedGenerator, listener: socket.socket, host: str, token: str | None = None) -> None:
    """Compiles what tiles need, prints the address, and answers until it is interrupted.

    Args:
        loaded: the generator, a continuous one.
        listener: socket to answer on.
        host: as it was asked for; other hosts than this machine alone need a token.
        token: that requests must carry; None to make one up where one is needed.
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
    """Makes a `uvicorn.Server`.

    Args:
        drawing: a `Drawing`, prepared or not.
        access: `AccessSettings`.
        closes_drawing: end the drawing with the server.
    """
    import uvicorn

    from inr_gan_jax.viewer.server import ViewerServer

    # A reader that is too slow is left without an answer on purpose.
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    return uvicorn.Server(
        uvicorn.Config(
            ViewerServer(drawing).application(access, closes_drawing),
            log_level="error",
            access_log=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            h11_max_incomplete_event_size=_LONGEST_REQUEST,
            http="h11",
            ws="none",
            # Longer than people look at a view before they move on.
            timeout_keep_alive=60,
            timeout_graceful_shutdown=2,
        )
    )


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("ASGI callable returned without")


@contextlib.contextmanager
def in_background(server: Any, listener: socket.socket) -> Iterator[str]:
    """Runs a server in a thread; gives its address, and stops it in the end."""
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
    """Makes all programs, showing how far that is."""
    started = time.perf_counter()
    with Progress("compile", drawing.num_steps, unit="steps") as progress:
        for _ in drawing.prepare():
            progress.add(1)
    print(f"viewer: {drawing.programs.count} programs for all places and levels, {time.perf_counter() - started:.1f} s")

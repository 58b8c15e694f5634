"""The viewer inside a notebook: Jupyter on this machine, or Colab."""

import importlib
import importlib.util
import threading
from typing import Any

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.viewports import check_continuous
from inr_gan_jax.viewer import serving


def show_viewer(loaded: LoadedGenerator, height: int = 640) -> Any:
    """Starts a viewer that ends with the notebook's kernel, and shows it below the cell.

    Args:
        loaded: the generator, a continuous one.
        height: of the frame, in pixels.

    Returns:
        A frame for the notebook to show; None in Colab, which shows it immediately.

    Raises:
        UserError: if a library is missing, or the network renders its trained image only.
    """
    serving.check_available()
    check_continuous(loaded, "an endless image")
    if importlib.util.find_spec("IPython") is None:
        raise UserError("the viewer inside a notebook needs IPython, which notebooks have")
    from inr_gan_jax.viewer.access import AccessSettings
    from inr_gan_jax.viewer.drawing import Drawing
    from inr_gan_jax.viewer.programs import pieces_for_device

    drawing = Drawing(loaded, pieces_for_device())
    serving.prepare(drawing)
    is_colab = importlib.util.find_spec("google.colab") is not None if importlib.util.find_spec("google") else False
    # In Colab an authenticating proxy, which changes the host name, connects the browser to the kernel.
    access = AccessSettings(hosts=None if is_colab else serving.LOOPBACK, may_be_framed=True)
    listener = serving.open_socket("127.0.0.1", 0)
    server = serving.made_server(drawing, access)
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    port = listener.getsockname()[1]
    if is_colab:
        importlib.import_module("google.colab.output").serve_kernel_port_as_iframe(port, height=str(height))
        return None
    return importlib.import_module("IPython.display").IFrame(f"http://127.0.0.1:{port}/", "100%", height)

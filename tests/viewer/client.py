"""Asks a viewer, as a browser would."""

import contextlib
import dataclasses
import http.client
import io
import json
import urllib.parse
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from inr_gan_jax.viewer import serving
from inr_gan_jax.viewer.access import AccessSettings
from inr_gan_jax.viewer.drawing import Drawing

# Tests ask more than people do.
OPEN = AccessSettings(requests_per_second=1e6, burst=1e6)


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def sentence(self) -> str:
        return self.body.decode().strip()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def picture(self) -> np.ndarray:
        """[height, width, channels], uint8."""
        array = np.asarray(Image.open(io.BytesIO(self.body)))
        return array if array.ndim == 3 else array[..., None]


def ask(url: str, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
    host = urllib.parse.urlsplit(url).netloc
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.request(method, f"/{path}", headers=headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


@contextlib.contextmanager
def serving_drawing(drawing: Drawing, access: AccessSettings = OPEN) -> Iterator[str]:
    """A server of its own for a drawing, which goes on after it."""
    listener = serving.open_socket("127.0.0.1", 0)
    server = serving.made_server(drawing, access, closes_drawing=False)
    with serving.in_background(server, listener) as url:
        yield url

"""The URLs of the page: tiles, pictures, files, and the available choices."""

import asyncio
import contextlib
import hashlib
import importlib.resources
import mimetypes
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.choices import INR_SUFFIX
from inr_gan_jax.inference.inr_file import save_inr
from inr_gan_jax.inference.latent_paths import spaces_of
from inr_gan_jax.inference.latents import MAX_PSI, MAX_SEED
from inr_gan_jax.inference.super_resolution import UPSCALING_FILTERS
from inr_gan_jax.viewer import plane
from inr_gan_jax.viewer.access import AccessControl, AccessSettings
from inr_gan_jax.viewer.drawing import Drawing, FilterWork, InrWork, as_png
from inr_gan_jax.viewer.plane import MAX_LEVEL, MIN_LEVEL, REACH, TILE, Tile
from inr_gan_jax.viewer.refusal import RefusalError
from inr_gan_jax.viewer.scene import ImageChoice, as_mapping, exact_number, parse_scene, whole_number
from inr_gan_jax.viewer.work_queue import Work

MAX_PICTURE_PIXELS = 2**24
MAX_PICTURE_SIDE = 2**14
_VIEW_KEYS = ("left", "top", "extent", "width", "height")
_CLOSED_BY_CLIENT = 499
# Parts of a picture in the queue at once: enough to keep the threads busy without blocking tiles.
_BLOCKS_TOGETHER = 4


class ViewerServer:
    """Answers requests with a `Drawing`.

    Args:
        drawing: that renders.
    """

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing
        self._static = read_static_files()
        self._info = information(drawing)
        # Browsers revalidate tiles; those of an earlier start of the viewer are stale.
        self._start = secrets.token_hex(8)
        self._one_picture = asyncio.Lock()
        self._one_file = asyncio.Lock()

    def application(self, settings: AccessSettings, closes_drawing: bool = True) -> Starlette:
        """The ASGI application.

        Args:
            settings: access control.
            closes_drawing: whether the drawing ends with the server.
        """

        @contextlib.asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            yield
            if closes_drawing:
                await run_in_threadpool(self._drawing.close)

        return Starlette(
            routes=[
                Route("/", self.static),
                Route("/static/{name}", self.static),
                Route("/info.json", self.info),
                Route("/tile/{by}/{level}/{column}/{row}.png", self.tile),
                Route("/picture.png", self.picture),
                Route(f"/image{INR_SUFFIX}", self.file),
            ],
            exception_handlers={
                RefusalError: _refused,
                UserError: _mistaken,
                HTTPException: _not_found,
            },
            middleware=[Middleware(AccessControl, settings=settings)],  # type: ignore[arg-type]
            lifespan=lifespan,
        )

    async def static(self, request: Request) -> Response:
        """The page and its parts, read at the start: no path of a request reaches the disk."""
        name = request.path_params.get("name", "index.html")
        if name not in self._static:
            raise HTTPException(404)
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(self._static[name], media_type=media_type, headers={"Cache-Control": "no-cache"})

    async def info(self, request: Request) -> Response:
        """The available choices."""
        del request
        return JSONResponse(self._info, headers={"Cache-Control": "no-store"})

    async def tile(self, request: Request) -> Response:
        """A tile, rendered by the INR or resized by a filter."""
        scene = parse_scene(request.query_params.multi_items(), self._drawing.loaded)
        level, column, row = (
            whole_number(request.path_params[name], name, -(2**31), 2**31) for name in ("level", "column", "row")
        )
        by = request.path_params["by"]
        if by != "inr" and by not in UPSCALING_FILTERS:
            raise RefusalError(404, f"tiles are rendered by inr, {', '.join(UPSCALING_FILTERS)} only")
        tile = Tile(level, column, row)
        if not tile.exists or (by == "inr" and level < self._drawing.coarsest[scene.rule]):
            raise RefusalError(404, "there is no such tile: it is too coarse, too fine, or too far away")
        work = self._drawing.tile_work(scene, tile) if by == "inr" else FilterWork(scene.image, tile, by)
        headers = {"ETag": self._tag(work), "Cache-Control": "private, no-cache"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        data = self._drawing.cached_tile(work)
        if data is None:
            data = await _unless_gone(request, self._result(self._drawing.ask_for_tile(work, level)))
        return Response(data, media_type="image/png", headers=headers)

    async def picture(self, request: Request) -> Response:
        """A picture of any rectangle and size."""
        image, viewport = self._chosen_picture(request.query_params.multi_items())
        if self._one_picture.locked():
            raise RefusalError(503, "another picture is being rendered; ask again when it is done")
        async with self._one_picture:
            data = await _unless_gone(request, self._rendered_picture(image, viewport))
        return _download(data, "image/png", f"seed_{image.seed}_{viewport.width}x{viewport.height}.png")

    async def file(self, request: Request) -> Response:
        """The file of an image as a network."""
        image = parse_scene(request.query_params.multi_items(), self._drawing.loaded).image
        if self._one_file.locked():
            raise RefusalError(503, "another file is being written; ask again when it is done")
        async with self._one_file:
            data = await run_in_threadpool(self._written_file, image)
        return _download(data, "application/octet-stream", f"seed_{image.seed}{INR_SUFFIX}")

    def _written_file(self, image: ImageChoice) -> bytes:
        shown = self._drawing.images.get(image)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"image{INR_SUFFIX}"
            save_inr(path, shown.loaded, shown.modulation)
            return path.read_bytes()

    def _chosen_picture(self, query: Sequence[tuple[str, str]]) -> tuple[ImageChoice, Any]:
        scene = parse_scene([pair for pair in query if pair[0] not in _VIEW_KEYS], self._drawing.loaded)
        values = as_mapping([pair for pair in query if pair[0] in _VIEW_KEYS], _VIEW_KEYS)
        width, height = (whole_number(values.get(key, "512"), key, 1, MAX_PICTURE_SIDE) for key in ("width", "height"))
        if width * height > MAX_PICTURE_PIXELS:
            raise RefusalError(
                400,
                f"the picture would have {width} x {height} pixels, expected at most {MAX_PICTURE_PIXELS:,}; "
                "inr_gan_jax.tools.tile renders any size",
            )
        left, top = (exact_number(values, key, -REACH, REACH, 0.0) for key in ("left", "top"))
        extent = exact_number(values, "extent", 0.0, 2.0 * REACH, 1.0)
        step = extent / width
        farthest = max(abs(left), abs(top), abs(left + extent), abs(top + step * height))
        coarsest = 2.0 ** -self._drawing.coarsest[scene.rule] / TILE
        if step > coarsest or step < 2.0**-MAX_LEVEL / TILE or farthest > plane.reach_of_step(step):
            raise RefusalError(400, "the pixels of the picture would be too coarse, too fine, or too far away")
        size = (height, width)
        native = self._drawing.loaded.generator.size
        return scene.image, plane.viewport_at((top, left), (step * height, extent), size, native, scene.rule)

    async def _rendered_picture(self, image: ImageChoice, viewport: Any) -> bytes:
        picture = np.zeros((viewport.height, viewport.width, self._drawing.loaded.generator.channels), np.uint8)
        places = [(top, left) for top in range(0, viewport.height, TILE) for left in range(0, viewport.width, TILE)]
        for start in range(0, len(places), _BLOCKS_TOGETHER):
            some = places[start : start + _BLOCKS_TOGETHER]
            works = [self._drawing.ask_for_block(image, viewport.crop(*place, TILE, TILE)) for place in some]
            blocks = await asyncio.gather(*map(self._result, works))
            for (top, left), block in zip(some, blocks, strict=True):
                part = picture[top : top + TILE, left : left + TILE]
                part[:] = block[: part.shape[0], : part.shape[1]]
        return await run_in_threadpool(as_png, picture)

    async def _result(self, work: Work) -> Any:
        """Waits for a piece of work, and withdraws from it when this request is cancelled."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        work.future.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
        try:
            await done.wait()
            return work.future.result()
        except CancelledError as error:
            raise RefusalError(503, "the viewer is closing") from error
        finally:
            self._drawing.leave(work)

    def _tag(self, work: InrWork | FilterWork) -> str:
        return f'"{self._start}-{hashlib.sha256(repr(work).encode()).hexdigest()[:24]}"'


def information(drawing: Drawing) -> dict[str, Any]:
    """What the page needs to know about the generator and the bounds."""
    generator = drawing.loaded.generator
    return {
        "name": drawing.loaded.source,
        "kimg": drawing.loaded.kimg,
        "native": {"height": generator.size[0], "width": generator.size[1]},
        "channels": generator.channels,
        "tile": TILE,
        "parallel": drawing.programs.pieces.parallel,
        "levels": {"min": MIN_LEVEL, "max": MAX_LEVEL},
        "reach": REACH,
        "reaches": {str(level): plane.reach_of(level) for level in range(MIN_LEVEL, MAX_LEVEL + 1)},
        "rules": drawing.coarsest,
        "rule": generator.default_rule,
        "spaces": spaces_of(drawing.loaded),
        "layers": generator.num_layers,
        "classes": generator.c_dim,
        "truncation": drawing.loaded.w_avg is not None,
        "filters": UPSCALING_FILTERS,
        "max_seed": MAX_SEED,
        "max_psi": MAX_PSI,
        "max_picture_pixels": MAX_PICTURE_PIXELS,
        "max_picture_side": MAX_PICTURE_SIDE,
    }


def read_static_files() -> dict[str, bytes]:
    """The page and its parts, by name."""
    folder = importlib.resources.files("inr_gan_jax.viewer") / "static"
    return {item.name: item.read_bytes() for item in folder.iterdir() if item.is_file()}


async def _unless_gone(request: Request, answer: Awaitable[Any]) -> Any:
    """Waits for an answer, and cancels it when the client disconnects."""
    wanted, gone = asyncio.ensure_future(answer), asyncio.ensure_future(_disconnection(request))
    try:
        await asyncio.wait({wanted, gone}, return_when=asyncio.FIRST_COMPLETED)
        if wanted.done():
            return wanted.result()
        raise RefusalError(_CLOSED_BY_CLIENT, "the request was given up")
    finally:
        for task in (wanted, gone):
            task.cancel()
        await asyncio.gather(wanted, gone, return_exceptions=True)


async def _disconnection(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _download(data: bytes, media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(data, media_type=media_type, headers=headers)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)
    headers = {"Retry-After": "1"} if error.status == 503 else None
    return PlainTextResponse(f"{error}\n", error.status, headers)


async def _mistaken(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 400)


async def _not_found(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = "there is nothing at this URL" if error.status_code == 404 else "only GET is answered here"
    return PlainTextResponse(f"{sentence}\n", error.status_code)

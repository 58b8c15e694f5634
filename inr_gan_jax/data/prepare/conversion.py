"""Converts many images on all cores, in order, with bounded memory. Worker processes load only Pillow and NumPy."""

import collections
import dataclasses
import itertools
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from inr_gan_jax.data.prepare.fit_image import FitSettings, FittedImage, fit_encoded, num_pixels, reason_of
from inr_gan_jax.data.prepare.sources import ImageReader
from inr_gan_jax.errors import DatasetError

# Images per task: enough that the overhead is small, few enough that all tasks fit in memory.
_IMAGES_PER_TASK = 8
# Images of more pixels are converted one at a time, whatever the number of processes.
_LARGE_PIXELS = 32_000_000

Outcome = FittedImage | str


@dataclasses.dataclass(frozen=True)
class Converter:
    """Reads and fits images by name.

    Attributes:
        reader: of the images.
        settings: of the result; None keeps the images as they are.
        large: lock that is held while a large image is converted.
    """

    reader: ImageReader
    settings: FitSettings | None
    large: Any

    def __call__(self, names: list[str]) -> list[Outcome]:
        """The fitted image of each name, or the reason why it cannot be used."""
        return [self._convert(name) for name in names]

    def _convert(self, name: str) -> Outcome:
        try:
            data = self.reader.read(name)
            if num_pixels(data) > _LARGE_PIXELS:
                with self.large:
                    return fit_encoded(data, self.settings)
            return fit_encoded(data, self.settings)
        except DatasetError:
            raise
        except Exception as error:  # whatever is wrong with an image is reported
            return reason_of(error)


def convert_all(
    names: Iterable[str], reader: ImageReader, settings: FitSettings | None, num_processes: int
) -> Generator[tuple[str, Outcome], None, None]:
    """Yields each name with its fitted image, or with the reason why it cannot be used, in the order of the names.

    Args:
        names: of the images.
        reader: of the images.
        settings: of the result; None keeps the images as they are.
        num_processes: worker processes; 1: none, the work is done in this process.

    Raises:
        DatasetError: if a worker process dies.
    """
    left = iter(names)
    tasks = iter(lambda: list(itertools.islice(left, _IMAGES_PER_TASK)), [])
    if num_processes == 1:
        converter = Converter(reader, settings, threading.Lock())
        for task in tasks:
            yield from zip(task, converter(task), strict=True)
        return
    # Spawned, not forked: a fork would copy threads' locks in whatever state they are.
    context = multiprocessing.get_context("spawn")
    arguments = (Converter(reader, settings, context.Lock()),)
    with ProcessPoolExecutor(num_processes, context, initializer=_start_worker, initargs=arguments) as pool:
        try:
            yield from _in_order(pool, tasks, 2 * num_processes)
        except BrokenProcessPool as error:
            raise DatasetError(
                "a worker process died, perhaps for lack of memory; the same command resumes, and "
                "--num_processes=1 needs the least"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, tasks: Iterator[list[str]], num_ahead: int) -> Iterator[tuple[str, Outcome]]:
    """Keeps a bounded number of tasks in flight."""
    in_flight: collections.deque[tuple[list[str], Future[list[Outcome]]]] = collections.deque()
    for task in itertools.chain(tasks, itertools.repeat(None)):
        if task is not None:
            in_flight.append((task, pool.submit(_work, task)))
        if not in_flight:
            return
        if task is None or len(in_flight) >= num_ahead:
            done, future = in_flight.popleft()
            yield from zip(done, future.result(), strict=True)


_converter: Converter | None = None


def _start_worker(converter: Converter) -> None:
    global _converter  # noqa: PLW0603 - the state of a worker process
    _converter = converter
    # Ctrl-C reaches the whole process group; the parent stops the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _work(names: list[str]) -> list[Outcome]:
    assert _converter is not None, "set when the process starts"
    return _converter(names)


def _end_with_parent() -> None:
    """Exits when the parent is killed; otherwise this process would wait forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in worker processes only"
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)

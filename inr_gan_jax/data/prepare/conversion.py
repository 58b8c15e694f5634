"""Converts many images on all cores, in order, with bounded memory. Its worker processes load Pillow and NumPy only."""

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

# Images a task: many enough that sending them costs little, few enough that all tasks fit in memory.
_IMAGES_A_TASK = 8
# Above this many pixels only one image is converted at a time, whatever the number of processes.
_LARGE_PIXELS = 32_000_000

Outcome = FittedImage | str


@dataclasses.dataclass(frozen=True)
class Converter:
    """Reads and fits images by name.

    Attributes:
        reader: of the images.
        settings: what they become; None keeps them as they are.
        large: held while a large image is converted.
    """

    reader: ImageReader
    settings: FitSettings | None
    large: Any

    def __call__(self, names: list[str]) -> list[Outcome]:
        """The fitted image of each name, or the reason why there is none."""
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
        except Exception as error:  # whatever is wrong with one image goes into the report
            return reason_of(error)


def convert_all(
    names: Iterable[str], reader: ImageReader, settings: FitSettings | None, num_processes: int
) -> Generator[tuple[str, Outcome], None, None]:
    """Yields each name with its fitted image, or with the reason why there is none, in the order of the names.

    Args:
        names: of the images.
        reader: of the images.
        settings: what they become; None keeps them as they are.
        num_processes: worker processes; 1: none, the work is done here.

    Raises:
        DatasetError: if a worker process ends before its time.
    """
    left = iter(names)
    tasks = iter(lambda: list(itertools.islice(left, _IMAGES_A_TASK)), [])
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
                "a worker process ended before its time, perhaps for lack of memory; the same command goes on, and "
                "--num_processes=1 needs least"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, tasks: Iterator[list[str]], num_ahead: int) -> Iterator[tuple[str, Outcome]]:
    """Keeps a bounded number of tasks under way."""
    under_way: collections.deque[tuple[list[str], Future[list[Outcome]]]] = collections.deque()
    for task in itertools.chain(tasks, itertools.repeat(None)):
        if task is not None:
            under_way.append((task, pool.submit(_work, task)))
        if not under_way:
            return
        if task is None or len(under_way) >= num_ahead:
            done, future = under_way.popleft()
            yield from zip(done, future.result(), strict=True)


_converter: Converter | None = None


def _start_worker(converter: Converter) -> None:
    global _converter  # noqa: PLW0603 - the one thing a worker process knows
    _converter = converter
    # Ctrl-C reaches the whole group; the parent ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _work(names: list[str]) -> list[Outcome]:
    assert _converter is not None, "set when the process starts"
    return _converter(names)


def _end_with_parent() -> None:
    """Ends this process when the parent is killed, which would otherwise leave it waiting for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in worker processes only"
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)

"""What reading a hostile file may cost."""

import contextlib
import pathlib
import resource
import sys
import time
from collections.abc import Iterator

# The longest stream takes a few seconds alone, and several times that next to other processes on one core. What is not
# linear in the file would take minutes.
MAX_SECONDS = 30
MAX_BYTES = 2 * 2**30


def peak_bytes() -> int:
    """The largest resident memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextlib.contextmanager
def within_limits() -> Iterator[None]:
    """Fails if the body takes too much processor time in this thread, or raises the peak of memory by too much."""
    start, peak = time.thread_time(), peak_bytes()
    yield
    assert time.thread_time() - start < MAX_SECONDS
    assert peak_bytes() - peak < MAX_BYTES


def assert_one_sentence(message: str, path: pathlib.Path) -> None:
    """A refusal is one line that starts with the path and stays readable."""
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert len(message) < len(str(path)) + 400

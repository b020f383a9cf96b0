"""Keeping a study small in memory."""

import contextlib
import ctypes
import gc
import itertools
import threading
from collections.abc import Iterator

_SECONDS_BETWEEN = 0.25
_TRIMS_PER_COLLECTION = 16  # of Python's garbage, of which tracing leaves much, and which takes a while


def give_back_memory() -> None:
    """Gives what compiling took for a while, hundreds of MiB, back to the system, where the C library can."""
    gc.collect()
    _trim()


@contextlib.contextmanager
def giving_back_memory() -> Iterator[None]:
    """Gives back what is free again and again meanwhile, so that the compiler's passes do not add up.

    Settings of the C library that do the same (fewer arenas, lower thresholds) stay for good, and make updates up to
    twice as slow.
    """
    is_over = threading.Event()

    def trim_at_times() -> None:
        for number in itertools.count(1):
            if is_over.wait(_SECONDS_BETWEEN):
                return
            if number % _TRIMS_PER_COLLECTION == 0:
                gc.collect()
            _trim()

    trimming = threading.Thread(target=trim_at_times, daemon=True)
    trimming.start()
    try:
        yield
    finally:
        is_over.set()
        trimming.join()
        give_back_memory()


def _trim() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)

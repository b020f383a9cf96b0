"""Functions that return unused memory to the system while a study runs."""

import contextlib
import ctypes
import gc
import itertools
import threading
from collections.abc import Iterator

_SECONDS_BETWEEN = 0.25
_TRIMS_PER_COLLECTION = 16  # Python's garbage is collected less often: tracing leaves much, and collecting it is slow


def give_back_memory() -> None:
    """Returns free memory, hundreds of MiB after compiling, to the system, if the C library supports it."""
    gc.collect()
    _trim()


@contextlib.contextmanager
def giving_back_memory() -> Iterator[None]:
    """Returns free memory to the system repeatedly within the context, so that the compiler's passes do not add up.

    Settings of the C library with the same effect (fewer arenas, lower thresholds) cannot be undone, and make updates
    up to twice as slow.
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

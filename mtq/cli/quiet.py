"""TensorFlow without its notices about the machine, for mtq's own programs. It must not import anything of mtq."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


def import_tensorflow() -> None:
    """Imports TensorFlow without its notices about CUDA, oneDNN and CPU features on standard error.

    Does nothing if TensorFlow has been imported, or the user has set another `TF_CPP_MIN_LOG_LEVEL`. The notices of the
    import itself ignore this variable, so standard error is captured meanwhile, and shown only if the import fails.
    Child processes inherit the level.
    """
    if "tensorflow" in sys.modules or os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        return
    with _standard_error_kept():
        import tensorflow  # noqa: F401


@contextlib.contextmanager
def _standard_error_kept() -> Iterator[None]:
    """A context manager in which file descriptor 2 is a temporary file, which is copied back after an exception."""
    kept, standard_error = None, -1
    with contextlib.suppress(OSError):  # standard error is closed, or no file can be written
        kept = tempfile.TemporaryFile()  # noqa: SIM115
        standard_error = os.dup(2)
    if kept is None or standard_error < 0:
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    with kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(standard_error, kept.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)

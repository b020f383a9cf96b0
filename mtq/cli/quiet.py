"""TensorFlow without its notices about the machine, for mtq's own programs. It must not import anything of mtq."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


def import_tensorflow() -> None:
    """Imports TensorFlow without notices about CUDA, oneDNN and CPU features on standard error.

    `TF_CPP_MIN_LOG_LEVEL` suppresses those that come after the import. A level that the user has set is kept. Those of
    the import itself ignore it, and are redirected; they are shown if the import fails, or the user's level is below 3.
    A program that is started by one of mtq's inherits its level, and is as quiet.
    """
    if "tensorflow" in sys.modules or os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        return
    with _standard_error_kept():
        import tensorflow  # noqa: F401


@contextlib.contextmanager
def _standard_error_kept() -> Iterator[None]:
    """A context manager in which file descriptor 2 is a temporary file, which is copied back after an exception."""
    sys.stderr.flush()
    standard_error = os.dup(2)
    with tempfile.TemporaryFile() as kept:
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

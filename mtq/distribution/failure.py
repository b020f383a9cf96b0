"""Handles the loss of a process of a run: the other processes stop with a message instead of waiting forever."""

import contextlib
import os
import sys
from collections.abc import Iterator

import tensorflow as tf

from mtq.distribution.tf_config import Cluster
from mtq.errors import WorkerLostError
from mtq.keras_internals import configure_coordination

# The timeouts of registration at the start (the default of `startup_timeout`), of heartbeats, and of the shutdown.
STARTUP_TIMEOUT, SECONDS_WITHOUT_A_SIGN, SECONDS_TO_PART = 300, 30, 60
EXIT_CODE = 3
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)
_PERHAPS_LOST = (tf.errors.InternalError, tf.errors.CancelledError, tf.errors.FailedPreconditionError)
_SIGNS = ("/job:", "heartbeat", "oordination", "ollective", "peer")


def set_timeouts(cluster: Cluster, startup_timeout: int = STARTUP_TIMEOUT) -> None:
    """Sets the timeouts of TensorFlow's coordination service. Call it before TensorFlow is initialized.

    Args:
        cluster: The processes of the run.
        startup_timeout: The time in seconds for which the processes wait for each other at the start.
    """
    configure_coordination(
        cluster.sizes,
        register_seconds=startup_timeout,
        heartbeat_seconds=SECONDS_WITHOUT_A_SIGN,
        shutdown_seconds=SECONDS_TO_PART,
    )


@contextlib.contextmanager
def worker_errors(strategy: tf.distribute.Strategy | None = None) -> Iterator[None]:
    """Converts the errors that TensorFlow raises when a process was lost to `WorkerLostError`, within a `with` block.

    Args:
        strategy: The strategy of the run; None while a strategy of several processes is being created.

    Raises:
        WorkerLostError: The block failed because another process was lost.
    """
    try:
        yield
    except (*_LOST, *_PERHAPS_LOST) as error:
        has_others = strategy is None or isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        is_loss = isinstance(error, _LOST) or any(sign in str(error) for sign in _SIGNS)
        if not (has_others and is_loss):
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WorkerLostError(
            "Another process of this run was lost: it died, did not start, or could not be reached. Saved files are "
            "intact. Start all processes again with --resume to resume the run from its last checkpoint. TensorFlow's "
            f"error: {reason}"
        ) from error


@contextlib.contextmanager
def exit_when_lost() -> Iterator[None]:
    """Ends this process with a message and exit code 3 if another process of its run was lost, within a `with` block.

    The process ends immediately, because TensorFlow's usual shutdown would wait for the lost process.
    """
    try:
        yield
    except WorkerLostError as error:
        sys.stdout.flush()
        print(f"mtq: {error}", file=sys.stderr, flush=True)
        os._exit(EXIT_CODE)

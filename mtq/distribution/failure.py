"""A process of a run that is lost: the others stop with a message instead of waiting for ever."""

import contextlib
import os
import sys
from collections.abc import Iterator

import tensorflow as tf

from mtq.distribution.tf_config import Cluster
from mtq.errors import WorkerLostError
from mtq.keras_internals import configure_coordination

SECONDS_TO_MEET, SECONDS_WITHOUT_A_SIGN, SECONDS_TO_PART = 300, 30, 60  # the first unless said otherwise
EXIT_CODE = 3
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)
_PERHAPS_LOST = (tf.errors.InternalError, tf.errors.CancelledError, tf.errors.FailedPreconditionError)
_SIGNS = ("/job:", "heartbeat", "oordination", "ollective", "peer")


def bound_waiting(cluster: Cluster, seconds_to_meet: int = SECONDS_TO_MEET) -> None:
    """Has a run's processes wait so long for each other and no longer; before TensorFlow is set up.

    Args:
        cluster: Of the run.
        seconds_to_meet: How long at the start.
    """
    configure_coordination(
        cluster.sizes,
        register_seconds=seconds_to_meet,
        heartbeat_seconds=SECONDS_WITHOUT_A_SIGN,
        shutdown_seconds=SECONDS_TO_PART,
    )


@contextlib.contextmanager
def worker_errors(strategy: tf.distribute.Strategy | None = None) -> Iterator[None]:
    """Raises a `WorkerLostError` for what TensorFlow says where a run of several processes has lost one.

    Args:
        strategy: The run's; None for one of several processes that is only being made.
    """
    try:
        yield
    except (*_LOST, *_PERHAPS_LOST) as error:
        is_one_of_several = strategy is None or isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        is_known = isinstance(error, _LOST) or any(sign in str(error) for sign in _SIGNS)
        if not (is_one_of_several and is_known):
            raise
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WorkerLostError(
            "Another process of this run was lost: it died, did not start, or could not be reached. Nothing that was "
            "saved is harmed. Start all processes again with --resume, and the run goes on from its last checkpoint. "
            f"TensorFlow says: {said}"
        ) from error


@contextlib.contextmanager
def exit_when_lost() -> Iterator[None]:
    """Ends this process with a message and exit code 3 where another one of its run was lost.

    At once, for at a usual end TensorFlow would wait for the lost one.
    """
    try:
        yield
    except WorkerLostError as error:
        sys.stdout.flush()
        print(f"mtq: {error}", file=sys.stderr, flush=True)
        os._exit(EXIT_CODE)

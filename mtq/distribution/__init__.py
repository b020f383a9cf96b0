"""Training on one CPU, several devices, several machines or a TPU, with `tf.distribute`."""

from mtq.distribution.failure import exit_when_lost
from mtq.distribution.replicas import is_chief
from mtq.distribution.strategies import strategy
from mtq.distribution.tf_config import Cluster, read_tf_config
from mtq.errors import WorkerLostError

__all__ = ["Cluster", "WorkerLostError", "exit_when_lost", "is_chief", "read_tf_config", "strategy"]

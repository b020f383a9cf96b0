"""The placement of a study's runs: how many at once, on which replicas, and which of them in this process."""

import os

import tensorflow as tf

from mtq.checks import is_whole
from mtq.distribution import read_tf_config
from mtq.distribution import strategy as strategy_by_name
from mtq.distribution.replicas import has_other_processes

Shard = tuple[int, int]
Place = tuple[tf.distribute.Strategy | None, Shard]
WHOLE: Shard = (0, 1)
_NO_TPU = (
    "A study's runs must be made on CPUs or GPUs, because the log of the gradients is on the host. Received: a TPU. "
    "Pass strategy='auto' to the study, and use `mtq train --strategy tpu` for a single run on the TPU."
)


def check_where(workers: int | None, strategy: tf.distribute.Strategy | None, shard: Shard) -> None:
    """Raises a ValueError if the placement of a study's runs is invalid.

    Args:
        workers: The number of runs that are made at once, or None; see `Study.run`.
        strategy: The strategy on whose replicas each run is made, or None; see `Study.run`.
        shard: The index of the shard, from 0, and the number of shards; see `Study.run_shard`.
    """
    if workers is not None and (not is_whole(workers) or workers < 1):
        raise ValueError(f"workers must be an integer of at least 1, or None. Received: {workers!r}.")
    are_two = isinstance(shard, tuple | list) and len(shard) == 2 and all(is_whole(number) for number in shard)
    if not are_two or not 0 <= shard[0] < shard[1]:
        raise ValueError(
            f"shard must be its index, from 0, and the number of shards. Received: {shard!r}. For example, (0, 4) is "
            "the first of four and (3, 4) the last."
        )
    if strategy is None:
        return
    if isinstance(strategy, tf.distribute.TPUStrategy):
        raise ValueError(_NO_TPU)
    if has_other_processes(strategy):
        raise ValueError(
            "A study's strategy must have its replicas in this process, because runs do not wait for each other. "
            f"Received: {type(strategy).__name__}. Give each process its shard of the runs, shard=(index, number)."
        )
    if workers not in (None, 1):
        raise ValueError(
            f"workers must be 1 if each run is made on all replicas of a strategy. Received: {workers}, with "
            f"{type(strategy).__name__}."
        )


def default_workers(strategy: tf.distribute.Strategy | None) -> int:
    """Returns the default number of workers: the number of cores, or 1 if there is a strategy."""
    if strategy is not None:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_shard(text: str) -> Shard:
    """Parses a shard: `"2/4"` → `(2, 4)`.

    Args:
        text: The index of the shard, from 0, a slash, and the number of shards.

    Raises:
        ValueError: The text is not a shard.
    """
    parts = text.split("/")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise ValueError(
            f"shard must be its index, from 0, a slash, and the number of shards. Received: {text!r}. For example, "
            "the shards of four are 0/4, 1/4, 2/4 and 3/4."
        )
    shard = (int(parts[0]), int(parts[1]))
    check_where(None, None, shard)
    return shard


def where(strategy: str = "auto", devices: int | None = None, shard: str | None = None) -> Place:
    """Converts options of a command line to the arguments of `Study.run_shard`. Call it before TensorFlow is used.

    Args:
        strategy: The name of a strategy of `mtq.distribution.strategy`, other than `"tpu"`. If the environment variable
            `TF_CONFIG` names several processes, each makes its own shard of the runs, whatever the strategy;
            `"multi_worker"` requires `TF_CONFIG` or a shard.
        devices: The number of replicas of `"mirrored"`; see `mtq.distribution.strategy`.
        shard: The shard, such as `"2/4"`; by default the position of this process in `TF_CONFIG`.

    Returns:
        The strategy on whose replicas each run is made, or None; and the shard of this process.

    Raises:
        ValueError: The strategy is unknown, or lacks what it needs; or the text is not a shard.
    """
    part = parse_shard(shard) if shard is not None else _place_in_cluster()
    if strategy == "tpu":
        raise ValueError(_NO_TPU)
    if strategy == "multi_worker":
        if part is None:
            raise ValueError(
                "strategy='multi_worker' of a study needs the environment variable TF_CONFIG, or --shard, which tell a "
                "process its shard of the runs. Received: neither. See docs/scaling.md."
            )
        strategy = "auto"
    if strategy == "auto" and devices is None:
        return None, part or WHOLE
    chosen = strategy_by_name("mirrored" if strategy == "auto" else strategy, devices=devices)
    if strategy == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # so that the workers' processes see no GPU either
        return None, part or WHOLE
    return chosen, part or WHOLE


def _place_in_cluster() -> Shard | None:
    cluster = read_tf_config()
    return None if cluster is None else (cluster.index, len(cluster.addresses))

"""Reads `TF_CONFIG`, the environment variable that names the processes of a run."""

import dataclasses
import json
import os
from typing import Any

_EXAMPLE = (
    """TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, """
    """"task": {"type": "worker", "index": 0}}'"""
)
_KINDS = ("chief", "worker")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The processes of a run.

    Attributes:
        addresses: The `host:port` of each process, the chief's first.
        index: The index of this process among the addresses.
        sizes: The number of processes of each type, `"chief"` first.
    """

    addresses: tuple[str, ...]
    index: int
    sizes: dict[str, int]


def read_tf_config(text: str | None = None) -> Cluster | None:
    """Reads the processes of a run from `TF_CONFIG`.

    Args:
        text: The JSON text; by default the value of the environment variable.

    Returns:
        The processes, or None if the text is empty or the variable is not set.

    Raises:
        ValueError: The text is not JSON, or lacks the cluster or this process's task in it.
    """
    text = os.environ.get("TF_CONFIG", "") if text is None else text
    if not text.strip():
        return None
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"TF_CONFIG must be JSON. Received: {text!r}, which is not: {error}. Example: {_EXAMPLE}"
        ) from None
    cluster = _part(config, "cluster", text)
    task = _part(config, "task", text)
    addresses = []
    for kind in _KINDS:
        hosts = cluster.get(kind, [])
        if not isinstance(hosts, list) or not all(isinstance(host, str) and ":" in host for host in hosts):
            raise ValueError(
                f"cluster.{kind} of TF_CONFIG must be a list of host:port. Received: {hosts!r}. Example: {_EXAMPLE}"
            )
        addresses += hosts
    if not addresses:
        raise ValueError(f"cluster of TF_CONFIG must name workers. Received: {cluster}. Example: {_EXAMPLE}")
    kind, index = str(task.get("type")), task.get("index")
    if kind not in _KINDS or not isinstance(index, int) or not 0 <= index < len(cluster.get(kind, [])):
        raise ValueError(
            "task of TF_CONFIG must identify this process in the cluster by its type (worker or chief) and index. "
            f"Received: {task}, for the cluster {cluster}. Example: {_EXAMPLE}"
        )
    sizes = {name: len(cluster[name]) for name in _KINDS if cluster.get(name)}
    return Cluster(tuple(addresses), index + (sizes.get("chief", 0) if kind == "worker" else 0), sizes)


def _part(config: Any, name: str, text: str) -> dict[str, Any]:
    part = config.get(name) if isinstance(config, dict) else None
    if not isinstance(part, dict):
        raise ValueError(f"TF_CONFIG must have a {name!r}. Received: {text!r}. Example: {_EXAMPLE}")
    return part

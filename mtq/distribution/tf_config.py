"""`TF_CONFIG`: by which a process knows the others of its run."""

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
        addresses: `host:port` of each, the chief's first.
        index: Which of them this is.
        sizes: How many there are of each kind, the chief first.
    """

    addresses: tuple[str, ...]
    index: int
    sizes: dict[str, int]


def read_tf_config(text: str | None = None) -> Cluster | None:
    """Reads what `TF_CONFIG` says.

    Args:
        text: By default that of the environment.

    Returns:
        None where there is none.

    Raises:
        ValueError: It is not JSON, or lacks the cluster or this process's place in it.
    """
    text = os.environ.get("TF_CONFIG", "") if text is None else text
    if not text.strip():
        return None
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"TF_CONFIG must be JSON, and is not: {error}. Received: {text!r}. Such as {_EXAMPLE}"
        ) from None
    cluster = _part(config, "cluster", text)
    task = _part(config, "task", text)
    addresses = []
    for kind in _KINDS:
        of_kind = cluster.get(kind, [])
        if not isinstance(of_kind, list) or not all(isinstance(one, str) and ":" in one for one in of_kind):
            raise ValueError(
                f"cluster.{kind} of TF_CONFIG must be a list of host:port. Received: {of_kind!r}. Such as {_EXAMPLE}"
            )
        addresses += of_kind
    if not addresses:
        raise ValueError(f"cluster of TF_CONFIG must name workers. Received: {cluster}. Such as {_EXAMPLE}")
    kind, index = str(task.get("type")), task.get("index")
    if kind not in _KINDS or not isinstance(index, int) or not 0 <= index < len(cluster.get(kind, [])):
        raise ValueError(
            "task of TF_CONFIG must say which of the cluster's processes this is, by its type (worker or chief) and "
            f"index. Received: {task}, for the cluster {cluster}. Such as {_EXAMPLE}"
        )
    sizes = {name: len(cluster[name]) for name in _KINDS if cluster.get(name)}
    return Cluster(tuple(addresses), index + (sizes.get("chief", 0) if kind == "worker" else 0), sizes)


def _part(config: Any, name: str, text: str) -> dict[str, Any]:
    part = config.get(name) if isinstance(config, dict) else None
    if not isinstance(part, dict):
        raise ValueError(f"TF_CONFIG must have a {name!r}. Received: {text!r}. Such as {_EXAMPLE}")
    return part

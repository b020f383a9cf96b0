"""Exports a model as a SavedModel, which loads with TensorFlow alone and can be served with TF Serving."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from mtq import value_learning as vl
from mtq.checks import flag
from mtq.experience.q_model import QModel
from mtq.storage.files import as_path
from mtq.storage.folders import beside, check_folder_place, matches, put_in_place, stranger
from mtq.tasks.task_names import MASKED_SUFFIX

DEFAULT_SIGNATURE = "serving_default"
_OUTPUTS = ("action", "q_values")
_MASKED_INPUTS = ("observation", "action_mask")
_OF_AN_EXPORT = (
    r"(saved_model|fingerprint)\.pb",
    "(variables|assets)/",
    r"variables/variables\.(index|data-\d+-of-\d+)",
)


def export(model: QModel, filepath: str | Path, *, overwrite: bool = False) -> None:
    """Writes a SavedModel with one signature per task and a default signature for all tasks.

    The signature named after a task takes `observation [N, …]` in the shape and dtype of `task.spec`, not scaled; Dict,
    Tuple and Discrete observations are flattened as by `gymnasium.spaces.flatten`; with `frame_stack`, the latest
    frames are stacked on the last axis, oldest first. It returns `action [N]`, int32, the greedy actions as the
    environment's `step` takes them, and `q_values [N, num_actions]`, float32. Column `i` of the values belongs to the
    action `task.spec.first_action + i`; the first action is 0 unless the environment numbers its actions differently.
    The default signature takes the observations of all tasks, each under its task's name and with its own number of
    rows, and returns `<task>_action` and `<task>_q_values`.

    These signatures consider all actions legal. A task with masks of legal actions has a further one, named
    `<task>_masked`: it takes `observation` and `action_mask [N, num_actions]` int8, 1 for legal and 0 for illegal
    actions, as Gymnasium's and PettingZoo's environments return it. Its `action` is the best of the legal ones; its
    `q_values` are not masked. A row without a legal action fails with an error.

    A request of another shape or dtype fails with an error in
    every program that serves the export.

    Args:
        model: The `MultiTaskDQN` to export.
        filepath: The path of the folder to write; TF Serving expects `<name>/<version>`.
        overwrite: Whether an existing export of mtq may be replaced. It is replaced by a single rename, so that readers
            see either the old or the new export. A folder that holds anything else is never replaced.

    Raises:
        FileExistsError: The path exists and is not an empty folder or, with `overwrite`, an export of mtq; or it is
            the current folder or one of its parents.
        ValueError: The path is a remote address.

    Example:
        An export runs without mtq and without Keras: `tf.saved_model.load(path).signatures["cart_pole"](
        observation=tf.zeros([1, 4]))["action"]`.
    """
    check_free(filepath, overwrite)
    archive = keras.export.ExportArchive()
    archive.track(model.network)
    for name in model.tasks:
        archive.add_endpoint(name, _task_endpoint(model, name), input_signature=[_observation_spec(model, name)])
        if model.tasks[name].spec.has_action_mask:
            specs = [_observation_spec(model, name), _mask_spec(model, name)]
            archive.add_endpoint(masked_signature(name), _masked_endpoint(model, name), input_signature=specs)
    archive.add_endpoint(
        DEFAULT_SIGNATURE,
        _default_endpoint(model),
        input_signature=[{name: _observation_spec(model, name, name) for name in model.tasks}],
    )
    place = as_path("folder to export to", filepath)
    place = place.resolve() if place.name in ("", "..") else place.parent.resolve() / place.name
    with beside(place) as new:
        archive.write_out(str(new), verbose=False)
        put_in_place(new, place, lambda path: _check_place(path, filepath, overwrite))


def check_free(filepath: str | Path, overwrite: bool = False) -> None:
    """Raises a FileExistsError if an export to a path would replace anything but, with `overwrite`, another export.

    Args:
        filepath: The path of the folder to be written.
        overwrite: Whether an existing export of mtq may be replaced.

    Raises:
        FileExistsError: The path exists and may not be replaced, or one of its parents is a file.
        ValueError: The path is a remote address.
    """
    overwrite = flag("overwrite", overwrite)
    place = as_path("folder to export to", filepath)
    check_folder_place(place.parent, "folder to export to")
    _check_place(place, filepath, overwrite)


def _check_place(path: Path, filepath: str | Path, overwrite: bool) -> None:
    if path.is_symlink():
        raise _taken(filepath, "new or empty", "which is a link")
    if not path.exists():
        return
    if Path.cwd().is_relative_to(path.resolve()):
        raise _taken(filepath, "another than the current folder, which the export would replace", "which holds it")
    if path.is_dir() and not any(path.iterdir()):
        return
    if not path.is_dir() or not overwrite:
        raise _taken(filepath, "new or empty", "which exists")
    other = _foreign_entry(path)
    if other is not None:
        raise _taken(filepath, "new or empty, or hold an export of mtq and nothing else", f"which holds {other!r}")


def _taken(filepath: str | Path, must: str, found: str) -> FileExistsError:
    return FileExistsError(
        f"The folder to export to must be {must}. Received: {str(filepath)!r}, {found}. Choose another folder (TF "
        "Serving serves the highest version number), or pass overwrite=True (--overwrite) to replace an export."
    )


def _foreign_entry(path: Path) -> str | None:
    """Returns the name of an entry of a folder that is not part of an export of mtq, or None if all entries are."""
    graph = path / "saved_model.pb"
    if not graph.is_file():
        return min(entry.name for entry in path.iterdir())
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(graph.read_bytes())
    except DecodeError:
        return graph.name
    if not all(_is_ours(meta_graph.signature_def) for meta_graph in saved.meta_graphs):
        return f"{graph.name} of another program"
    # Assets are the files of lookup tables, whose names are in the graph.
    assets = [asset.filename for meta_graph in saved.meta_graphs for asset in meta_graph.asset_file_def]
    return stranger(path, matches(*_OF_AN_EXPORT, *(re.escape(f"assets/{name}") for name in assets)))


def _is_ours(signatures: Mapping[str, Any]) -> bool:
    """Returns whether the signatures of a SavedModel are those that `export` writes."""
    names = [name for name in signatures if name != DEFAULT_SIGNATURE and not name.startswith("__")]
    masked = {masked_signature(name) for name in names}
    masked = {name for name in masked.intersection(names) if set(signatures[name].inputs) == set(_MASKED_INPUTS)}
    tasks = [name for name in names if name not in masked]
    outputs = {f"{task}_{output}" for task in tasks for output in _OUTPUTS}
    return (
        bool(tasks)
        and all(set(signatures[name].outputs) == set(_OUTPUTS) for name in names)
        and DEFAULT_SIGNATURE in signatures
        and set(signatures[DEFAULT_SIGNATURE].outputs) == outputs
    )


def masked_signature(task: str) -> str:
    """Returns the name of the signature that takes a task's observations with masks of legal actions.

    Args:
        task: The task's name.
    """
    return task + MASKED_SUFFIX


def _mask_spec(model: QModel, name: str) -> tf.TensorSpec:
    return tf.TensorSpec([None, model.tasks[name].num_actions], tf.int8, name=_MASKED_INPUTS[1])


def _observation_spec(model: QModel, name: str, argument: str = "observation") -> tf.TensorSpec:
    spec = model.tasks[name].spec
    return tf.TensorSpec([None, *spec.observation_shape], spec.observation_dtype, name=argument)


def _checked(model: QModel, name: str, observation: tf.Tensor) -> tf.Tensor:
    """Returns the observation with an assertion of its shape in the graph.

    The assertion is necessary because neither TensorFlow's C API nor TF Serving checks the shape in a signature.
    """
    return tf.ensure_shape(observation, [None, *model.tasks[name].spec.observation_shape], name=f"observation_{name}")


def _act(
    model: QModel, name: str, observation: tf.Tensor, mask: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    q_values = model.paths[name](observation, training=False)
    action = vl.greedy_actions(q_values, mask)
    first_action = model.tasks[name].spec.first_action
    return action + first_action if first_action else action, q_values


def _task_endpoint(model: QModel, name: str) -> Any:
    def endpoint(observation: tf.Tensor) -> dict[str, tf.Tensor]:
        action, q_values = _act(model, name, _checked(model, name, observation))
        return {"action": action, "q_values": q_values}

    return endpoint


def _masked_endpoint(model: QModel, name: str) -> Any:
    def endpoint(observation: tf.Tensor, action_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        shape = [None, model.tasks[name].num_actions]
        legal = tf.ensure_shape(action_mask, shape, name=f"action_mask_{name}") != 0
        message = f"action_mask of task {name} must have a legal action, and as many rows as the observation."
        has_rows = tf.equal(tf.shape(legal)[0], tf.shape(observation)[0])
        is_valid = tf.reduce_all(tf.reduce_any(legal, axis=1)) & has_rows
        with tf.control_dependencies([tf.debugging.Assert(is_valid, [message])]):
            action, q_values = _act(model, name, _checked(model, name, observation), tf.identity(legal))
        return {"action": action, "q_values": q_values}

    return endpoint


def _default_endpoint(model: QModel) -> Any:
    def endpoint(observations: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs = {}
        for name, observation in observations.items():
            action, q_values = _act(model, name, _checked(model, name, observation))
            outputs[f"{name}_action"], outputs[f"{name}_q_values"] = action, q_values
        return outputs

    return endpoint


def check_exportable(model: QModel) -> None:
    """Raises a ValueError unless every task's path through the network can be exported. Nothing is written.

    Args:
        model: The `MultiTaskDQN` to check.
    """
    for name in model.tasks:
        try:
            endpoint = tf.function(_task_endpoint(model, name), [_observation_spec(model, name)], autograph=False)
            operations = endpoint.get_concrete_function().graph.get_operations()
        except Exception as error:
            raise ValueError(
                f"The path of task '{name}' through the network must be exportable. Received: a path that fails with "
                f"{type(error).__name__}: {str(error)[:300]}"
            ) from error
        python = [operation.name for operation in operations if "PyFunc" in operation.type]
        if python:
            raise ValueError(
                f"The path of task '{name}' through the network must be exportable. Received: the operation "
                f"{python[0]!r}, which calls Python, but an export runs without Python. Use operations of keras.ops or "
                "TensorFlow instead, or train without export_to."
            )

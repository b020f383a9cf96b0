"""Taking a model away: a SavedModel that TensorFlow alone loads and TF Serving serves."""

import os
import shutil
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

DEFAULT_SIGNATURE = "serving_default"


def export(model: Any, filepath: str | Path, *, overwrite: bool = False) -> None:
    """Writes a SavedModel with a signature per task and a default one.

    The signature named after a task takes `observation [N, …]` in the task's own dtype and gives `action [N]` int32,
    the greedy one, and `q_values [N, num_actions]` float32. The default signature takes the observations of all tasks,
    each under its task's name, and gives `<task>_action` and `<task>_q_values`.

    Args:
        model: A `MultiTaskDQN`.
        filepath: The folder to write, by TF Serving's custom `<name>/<version>`.
        overwrite: Whether an export that is already there may be replaced.

    Raises:
        FileExistsError: There is something at this place already.

    Example:
        The export is used without mtq and without Keras: `tf.saved_model.load(path).signatures["cart_pole"](
        observation=tf.zeros([1, 4]))["action"]`.
    """
    check_free(filepath, overwrite)
    archive = keras.export.ExportArchive()
    archive.track(model.network)
    for name in model.tasks:
        archive.add_endpoint(name, _task_endpoint(model, name), input_signature=[_observation_spec(model, name)])
    archive.add_endpoint(
        DEFAULT_SIGNATURE,
        _default_endpoint(model),
        input_signature=[{name: _observation_spec(model, name, name) for name in model.tasks}],
    )
    beside = Path(filepath).with_name(f".{Path(filepath).name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    archive.write_out(str(beside), verbose=False)
    if Path(filepath).exists():
        shutil.rmtree(filepath)
    os.replace(beside, filepath)


def check_free(filepath: str | Path, overwrite: bool = False) -> None:
    """Raises a FileExistsError if an export to this place would replace something.

    Args:
        filepath: The folder to write.
        overwrite: Whether a folder that is already there may be replaced.
    """
    path = Path(filepath)
    if path.is_file() or (path.exists() and any(path.iterdir()) and not overwrite):
        raise FileExistsError(
            f"The folder to export to must be new or empty. Received: {str(filepath)!r}, where there is something. "
            "Choose another one (TF Serving serves the highest version number), or pass overwrite=True (--overwrite)."
        )


def _observation_spec(model: Any, name: str, argument: str = "observation") -> tf.TensorSpec:
    spec = model.tasks[name].spec
    return tf.TensorSpec([None, *spec.observation_shape], spec.observation_dtype, name=argument)


def _act(model: Any, name: str, observation: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    q_values = model.paths[name](observation, training=False)
    return tf.argmax(q_values, axis=-1, output_type=tf.int32), q_values


def _task_endpoint(model: Any, name: str) -> Any:
    def endpoint(observation: tf.Tensor) -> dict[str, tf.Tensor]:
        action, q_values = _act(model, name, observation)
        return {"action": action, "q_values": q_values}

    return endpoint


def _default_endpoint(model: Any) -> Any:
    def endpoint(observations: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs = {}
        for name, observation in observations.items():
            outputs[f"{name}_action"], outputs[f"{name}_q_values"] = _act(model, name, observation)
        return outputs

    return endpoint


def check_exportable(model: Any) -> None:
    """Raises a ValueError unless every task's path can be exported; nothing is written.

    Args:
        model: A `MultiTaskDQN`.
    """
    for name in model.tasks:
        try:
            endpoint = tf.function(_task_endpoint(model, name), [_observation_spec(model, name)], autograph=False)
            operations = endpoint.get_concrete_function().graph.get_operations()
        except Exception as error:
            raise ValueError(
                f"The path of task '{name}' through the network must be one that can be exported. Received: one that "
                f"fails with {type(error).__name__}: {str(error)[:300]}"
            ) from error
        python = [operation.name for operation in operations if "PyFunc" in operation.type]
        if python:
            raise ValueError(
                f"The path of task '{name}' through the network must be one that can be exported. Received: "
                f"{python[0]!r}, which calls Python, where an export has none. Use keras.ops or TensorFlow "
                "in its place, or train without export_to."
            )

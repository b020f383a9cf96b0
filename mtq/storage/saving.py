"""Saves models atomically, and checks before training that a model can be saved and loaded again."""

import json
import os
import random
import zipfile
from pathlib import Path
from typing import IO, Any

import keras

from mtq.keras_internals import flatten_layers
from mtq.storage.files import as_path
from mtq.storage.folders import beside, check_kind

_REMEDY = (
    "Decorate your own classes and functions with @keras.saving.register_keras_serializable(), give each class a "
    "get_config with all arguments of its constructor, and use a registered layer in place of a Lambda"
)


def check_saveable(model: keras.Model) -> None:
    """Raises a ValueError that names the layer unless the model can be saved and loaded again.

    The network and the compile arguments are created again from their configs, as in loading. Nothing is written.

    Args:
        model: A `MultiTaskDQN`.
    """
    state = random.getstate()  # Keras draws the seeds of new layers from Python's generator
    try:
        _check_class(type(model))
        _check_network(model.network)
        if model.compiled:
            for role, config in _compile_configs(model).items():
                _check_config(f"{role} that the model is compiled with", config)
    finally:
        random.setstate(state)


def _check_network(network: Any) -> None:
    try:
        copy = _recreated(network)
        for layer, other in zip(_layers(network), _layers(copy), strict=True):
            _check_shapes(layer, other)
    except Exception as error:
        for layer in _layers(network):
            try:
                _check_shapes(layer, _recreated(layer))
            except Exception as layer_error:
                role = f"layer {layer.name!r} of the network"
                raise _not_saveable(role, type(layer).__name__, layer_error) from layer_error
        raise _not_saveable("network", type(network).__name__, error) from error


def _check_shapes(layer: keras.layers.Layer, copy: Any) -> None:
    shapes, copied = ([tuple(weight.shape) for weight in instance.weights] for instance in (layer, copy))
    if copy.built and shapes != copied:
        raise ValueError(f"its config creates weights of the shapes {copied}, but it has {shapes}")


def _compile_configs(model: keras.Model) -> dict[str, Any]:
    try:
        return model.get_compile_config()
    except Exception as error:
        raise _not_saveable("optimizer, loss, loss_weights and aggregator", "one without a config", error) from error


def _check_class(kind: type) -> None:
    if keras.saving.get_registered_object(keras.saving.get_registered_name(kind)) is not kind:
        raise _not_saveable("model's class", kind.__name__, TypeError("it is not registered."))


def _layers(network: Any) -> list[Any]:
    """Returns all layers, innermost first, so that the first layer that fails is the cause."""
    return flatten_layers(network, include_self=False)[::-1]


def _recreated(instance: Any) -> Any:
    return keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(instance))))


def _check_config(role: str, config: Any) -> None:
    if not isinstance(config, dict):
        return  # a name or a number
    try:
        keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
    except Exception as error:
        raise _not_saveable(role, str(config.get("class_name", config))[:100], error) from error


def _not_saveable(role: str, received: str, error: Exception) -> ValueError:
    cause = str(error).split("Exception encountered: ")[-1]  # Keras puts its own context first
    reason = (cause.split(". ")[0].splitlines() or [""])[0][:200].removesuffix(".")
    return ValueError(
        f"The {role} must be serializable, so that the model can be saved and loaded. Received: {received}, which "
        f"fails with {type(error).__name__}: {reason}. {_REMEDY}; or train without callbacks that save the model."
    )


def save_whole(model: keras.Model, filepath: str | Path) -> None:
    """Saves a model to a temporary file and renames that to its final path, so that readers never see a partial file.

    Args:
        model: The model.
        filepath: The path of the file, ending in `.keras`. Missing folders are created.

    Raises:
        ValueError: The path does not end in `.keras`.
        FileExistsError: The path exists and is not a `.keras` file.
    """
    filepath = as_path("filepath", filepath)
    filepath.parent.mkdir(parents=True, exist_ok=True)
    check_model_place(filepath)
    with beside(filepath) as new:
        model.save(new)
        os.replace(new, filepath)


def check_model_place(filepath: Path) -> None:
    """Raises an error unless a model can be saved to a path.

    Args:
        filepath: The path of the file to be written.

    Raises:
        ValueError: The path does not end in `.keras`.
        FileExistsError: The path holds something other than a `.keras` file.
    """
    if filepath.suffix != ".keras":
        raise ValueError(f"The file of a model must end in .keras. Received: {str(filepath)!r}. Rename it.")
    check_kind(filepath, "model", ".keras file", _is_keras)


def _is_keras(file: IO[bytes]) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return {"config.json", "metadata.json"} <= set(archive.namelist())
    except zipfile.BadZipFile:
        return False

"""Saving of models, and a check, made before training, that a model can be saved and loaded again."""

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
    "Decorate a class or function of your own with @keras.saving.register_keras_serializable(), give the class a "
    "get_config with all arguments of its constructor, and use a registered layer in place of a Lambda"
)


def check_saveable(model: Any) -> None:
    """Raises a ValueError, which names the layer, unless the model can be saved and loaded again.

    The network and the compile arguments are created again from their configs, as loading does. Nothing is written.

    Args:
        model: A `MultiTaskDQN`.
    """
    state = random.getstate()  # Keras draws the seeds of new layers from it
    try:
        _check_class(type(model))
        _check_network(model.network)
        if model.compiled:
            for role, config in _compile_configs(model).items():
                _again(f"{role} that the model is compiled with", config)
    finally:
        random.setstate(state)


def _check_network(network: Any) -> None:
    try:
        again = _made_again(network)
        for layer, other in zip(_layers(network), _layers(again), strict=True):
            _check_shapes(layer, other)
    except Exception as error:
        for layer in _layers(network):
            try:
                _check_shapes(layer, _made_again(layer))
            except Exception as of_layer:
                raise _cannot(f"layer {layer.name!r} of the network", type(layer).__name__, of_layer) from of_layer
        raise _cannot("network", type(network).__name__, error) from error


def _check_shapes(layer: Any, again: Any) -> None:
    shapes, others = ([tuple(weight.shape) for weight in one.weights] for one in (layer, again))
    if again.built and shapes != others:
        raise ValueError(f"its config makes weights of the shapes {others}, where it has {shapes}")


def _compile_configs(model: Any) -> dict[str, Any]:
    try:
        return model.get_compile_config()
    except Exception as error:
        raise _cannot("optimizer, loss, loss_weights and aggregator", "what has no config", error) from error


def _check_class(kind: type) -> None:
    if keras.saving.get_registered_object(keras.saving.get_registered_name(kind)) is not kind:
        raise _cannot("model's class", kind.__name__, TypeError("it is not registered."))


def _layers(network: Any) -> list[Any]:
    """All layers, inner ones first, so that the first one that fails is the cause."""
    return flatten_layers(network, include_self=False)[::-1]


def _made_again(thing: Any) -> Any:
    return keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(thing))))


def _again(what: str, config: Any) -> None:
    if not isinstance(config, dict):
        return  # a name, or a number
    try:
        keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
    except Exception as error:
        raise _cannot(what, str(config.get("class_name", config))[:100], error) from error


def _cannot(what: str, received: str, error: Exception) -> ValueError:
    cause = str(error).split("Exception encountered: ")[-1]  # after Keras's account of what it was doing
    reason = (cause.split(". ")[0].splitlines() or [""])[0][:200].removesuffix(".")
    return ValueError(
        f"The {what} must be something that can be saved with the model and loaded again. Received: {received}, which "
        f"fails with {type(error).__name__}: {reason}. {_REMEDY}; or train without callbacks that save the model."
    )


def save_whole(model: keras.Model, filepath: str | Path) -> None:
    """Saves a model beside its place and then renames it, so that a reader never sees half of one.

    Args:
        model: The model.
        filepath: The file to write, ending in `.keras`.

    Raises:
        ValueError: The file does not end in `.keras`.
        FileExistsError: The file exists and is not a `.keras` file.
    """
    filepath = as_path("filepath", filepath)
    filepath.parent.mkdir(parents=True, exist_ok=True)
    check_model_place(filepath)
    with beside(filepath) as new:
        model.save(new)
        os.replace(new, filepath)


def check_model_place(filepath: Path) -> None:
    """Checks that a model can be saved to a path.

    Args:
        filepath: The file to write.

    Raises:
        ValueError: The path does not end in `.keras`.
        FileExistsError: Something other than a `.keras` file is there.
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

"""Copies of layers with the same settings. Layers that cannot be copied faithfully raise an error."""

import contextlib
import types
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras.layers import InputLayer
from keras.src.models.functional import Functional
from keras.src.random.seed_generator import SeedGenerator
from keras.src.saving import serialization_lib

# Attributes that are not compared: random seeds, and the records that Keras and TensorFlow keep of a layer.
_NOT_COMPARED = {*vars(keras.layers.Layer()), "name", "seed", "_init_seed", "built"}
_PLAIN = (str, bytes, int, float, complex, bool, type(None))


def copy_of_layer(layer: keras.layers.Layer, name: str) -> keras.layers.Layer:
    """Copies a layer with its settings.

    If the layer has weights, the copy has the same values. Otherwise the copy draws its own weights when it is built.

    Args:
        layer: The layer to copy.
        name: The name of the copy.

    Returns:
        The copy. A `Lambda` has no weights and is returned itself.

    Raises:
        ValueError: The layer's `get_config` leaves out a setting, or the layer cannot be copied.
    """
    if isinstance(layer, keras.layers.Lambda):
        return layer
    try:
        with _classes_of(layer), serialization_lib.SafeModeScope(False):  # nothing comes from a file
            copy = _copied(layer, name)
            if layer.built and layer.variables:
                _copy_state(layer, copy)
    except Exception as error:
        raise ValueError(_message(layer, f"Copying it failed with {type(error).__name__}: {error}")) from error
    pairs = zip(layer._flatten_layers(), copy._flatten_layers(), strict=False)
    found = [_difference_of_items(_settings(one), _settings(other), one.name, set()) for one, other in pairs]
    difference = next((one for one in found if one), None)
    if difference is not None:
        raise ValueError(_message(layer, f"The copy differs in {difference}"))
    return copy


def _copied(layer: keras.layers.Layer, name: str) -> keras.layers.Layer:
    if type(layer) is keras.Sequential:
        copy = keras.Sequential([_copied(inner, inner.name) for inner in layer.layers], name=name)
        copy.trainable = layer.trainable
        return copy
    if getattr(type(layer), "call", None) is Functional.call and type(layer).__module__.startswith("keras."):
        copy = keras.models.clone_model(layer, clone_function=lambda inner: _copied(inner, inner.name))
        copy.name = name
        return copy
    if isinstance(layer, keras.layers.Lambda):
        return layer
    config = {**_without_seeds(layer.get_config()), "name": name}
    return type(layer).from_config(config)


def _copy_state(layer: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Builds a copy like the original, and copies the state that Keras saves with the layer."""
    if not copy.built:
        copy.build_from_config(layer.get_build_config())
    for one, other in zip(layer._flatten_layers(), copy._flatten_layers(), strict=True):
        if isinstance(one, keras.Model) or one is other:
            continue
        if one.built and not other.built:
            other.build_from_config(one.get_build_config())
        store: dict[str, Any] = {}
        one.save_own_variables(store)
        other.load_own_variables({key: np.array(value) for key, value in store.items()})
        if getattr(one, "lora_enabled", False):  # Keras merges LoRA weights into the kernel when it saves a layer
            for ours, theirs in zip(other.weights, one.weights, strict=True):
                ours.assign(theirs)
    for ours, theirs in zip(copy.weights, layer.weights, strict=True):
        if not np.array_equal(ours, theirs, equal_nan="float" in ours.dtype):
            raise ValueError(f"weight '{theirs.path}' is lost")


def _without_seeds(config: Any) -> Any:
    """The config without the seeds of its initializers, which would give the copy the same initial weights."""
    if isinstance(config, dict):
        return {key: None if key == "seed" else _without_seeds(value) for key, value in config.items()}
    return [_without_seeds(value) for value in config] if isinstance(config, list) else config


@contextlib.contextmanager
def _classes_of(layer: keras.layers.Layer) -> Iterator[None]:
    """Lets Keras find the layer's own classes and functions by name, registered or not."""
    found: dict[str, Any] = {}
    for inner in layer._flatten_layers():
        for one in (inner, *vars(inner).values()):
            if isinstance(one, types.FunctionType):
                found[one.__name__] = one
            elif not type(one).__module__.startswith(("keras.", "builtins", "tensorflow.")):
                found[type(one).__name__] = type(one)
    with keras.saving.custom_object_scope(found):
        yield


def _settings(layer: keras.layers.Layer) -> dict[str, Any]:
    """The attributes of a layer that are compared; of Keras's own layers only the public ones."""
    if not type(layer).__module__.startswith("keras."):
        return vars(layer)
    if isinstance(layer, keras.Model | InputLayer):
        return {}
    return {key: value for key, value in vars(layer).items() if not key.startswith("_")}


def _difference(one: Any, other: Any, place: str, seen: set[int]) -> str | None:
    """Describes where two values certainly differ; returns None if they are equal or cannot be compared."""
    if one is other or id(one) in seen or isinstance(one, keras.Variable | SeedGenerator | keras.KerasTensor):
        return None
    seen.add(id(one))
    if isinstance(one, _PLAIN) or isinstance(other, _PLAIN):
        same = type(one) is type(other) and (one == other or one != one)
        return None if same else f"{place}, {other!r} for {one!r}"
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return _difference_of_items(one, other, place, seen)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            return f"{place}, {len(other)} for {len(one)} items"
        pairs = [_difference(a, b, f"{place}[{i}]", seen) for i, (a, b) in enumerate(zip(one, other, strict=True))]
        return next((difference for difference in pairs if difference), None)
    if isinstance(one, types.FunctionType) and isinstance(other, types.FunctionType):
        return None if one.__code__ is other.__code__ or one.__code__ == other.__code__ else f"{place}, a function"
    if hasattr(one, "__array__") and hasattr(other, "__array__"):
        return None if np.array_equal(np.asarray(one), np.asarray(other)) else f"{place}, an array"
    if type(one) is not type(other):
        return f"{place}, {type(other).__name__} for {type(one).__name__}"
    is_object = hasattr(one, "__dict__") and not isinstance(one, type | types.ModuleType)
    return _difference_of_items(vars(one), vars(other), place, seen) if is_object else None


def _difference_of_items(one: Mapping[Any, Any], other: Mapping[Any, Any], place: str, seen: set[int]) -> str | None:
    for key, value in one.items():
        if key in _NOT_COMPARED or key not in other:  # attributes may be missing because they are created on first use
            continue
        difference = _difference(value, other[key], f"{place}.{key}" if isinstance(key, str) else place, seen)
        if difference is not None:
            return difference
    return None


def _message(layer: keras.layers.Layer, what: str) -> str:
    return (
        "Layers of the backbone that tasks do not share (shared_layers) must be such that Keras can copy them. "
        f"Received: layer '{layer.name}' ({type(layer).__name__}). {what}. Give the class a get_config that returns "
        "all its arguments and decorate it with keras.saving.register_keras_serializable(), or let tasks share it."
    )

"""Copies of layers with the same settings. Layers that cannot be copied faithfully raise an error."""

import contextlib
import types
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras.layers import InputLayer

from mtq.keras_internals import SEED_ATTRIBUTES, flatten_layers, is_plain_functional, unsafe_deserialization

# Attributes that are not compared: random seeds, and the records that Keras and TensorFlow keep of a layer.
_RECORDS = ("_self_unconditional_checkpoint_dependencies", "_self_unconditional_dependency_names")
_NOT_COMPARED = {*vars(keras.layers.Layer()), "name", "built", *SEED_ATTRIBUTES, *_RECORDS}
# The layers inside a model are compared themselves.
_NOT_SETTINGS = (keras.Variable, keras.random.SeedGenerator, keras.KerasTensor, keras.Model)
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
        with _classes_of(layer), unsafe_deserialization():  # nothing comes from a file
            copy = _copied(layer, name)
            if layer.built and layer.variables:
                _copy_state(layer, copy)
    except Exception as error:
        raise ValueError(_message(layer, f"Copying it failed with {type(error).__name__}: {error}")) from error
    pairs = zip(flatten_layers(layer), flatten_layers(copy), strict=False)
    differences = [_difference_of_items(_settings(old), _settings(new), old.name, set()) for old, new in pairs]
    difference = next((found for found in differences if found), None)
    if difference is not None:
        raise ValueError(_message(layer, f"The copy differs in {difference}"))
    return copy


def _copied(layer: keras.layers.Layer, name: str) -> keras.layers.Layer:
    if type(layer) is keras.Sequential:
        copy = keras.Sequential([_copied(inner, inner.name) for inner in layer.layers], name=name)
        copy.trainable = layer.trainable
        return copy
    if is_plain_functional(layer) and type(layer).__module__.startswith("keras."):
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
    for old, new in zip(flatten_layers(layer), flatten_layers(copy), strict=True):
        if isinstance(old, keras.Model) or old is new:
            continue
        if old.built and not new.built:
            new.build_from_config(old.get_build_config())
        store: dict[str, Any] = {}
        old.save_own_variables(store)
        new.load_own_variables({key: np.array(value) for key, value in store.items()})
        if getattr(old, "lora_enabled", False):  # Keras merges LoRA weights into the kernel when it saves a layer
            for new_weight, old_weight in zip(new.weights, old.weights, strict=True):
                new_weight.assign(old_weight)
    for new_weight, old_weight in zip(copy.weights, layer.weights, strict=True):
        if not np.array_equal(new_weight, old_weight, equal_nan="float" in new_weight.dtype):
            raise ValueError(f"weight '{old_weight.path}' is lost")


def _without_seeds(config: Any) -> Any:
    """The config without the seeds of its initializers, which would give the copy the same initial weights."""
    if isinstance(config, dict):
        return {key: None if key == "seed" else _without_seeds(value) for key, value in config.items()}
    return [_without_seeds(value) for value in config] if isinstance(config, list) else config


@contextlib.contextmanager
def _classes_of(layer: keras.layers.Layer) -> Iterator[None]:
    """Lets Keras find the layer's own classes and functions by name, registered or not."""
    found: dict[str, Any] = {}
    for inner in flatten_layers(layer):
        for value in (inner, *vars(inner).values()):
            if isinstance(value, types.FunctionType):
                found[value.__name__] = value
            elif not type(value).__module__.startswith(("keras.", "builtins", "tensorflow.")):
                found[type(value).__name__] = type(value)
    with keras.saving.custom_object_scope(found):
        yield


def _settings(layer: keras.layers.Layer) -> dict[str, Any]:
    """The attributes of a layer that are compared; of Keras's own layers only the public ones."""
    if not type(layer).__module__.startswith("keras."):
        return vars(layer)
    if isinstance(layer, keras.Model | InputLayer):
        return {}
    return {key: value for key, value in vars(layer).items() if not key.startswith("_")}


def _difference(old: Any, new: Any, place: str, seen: set[int]) -> str | None:
    """Describes where two values certainly differ; returns None if they are equal or cannot be compared."""
    if old is new or id(old) in seen or isinstance(old, _NOT_SETTINGS):
        return None
    seen.add(id(old))
    if isinstance(old, _PLAIN) or isinstance(new, _PLAIN):
        same = type(old) is type(new) and (old == new or old != old)
        return None if same else f"{place}, {new!r} for {old!r}"
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return _difference_of_items(old, new, place, seen)
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        if len(old) != len(new):
            return f"{place}, {len(new)} for {len(old)} items"
        pairs = [_difference(a, b, f"{place}[{i}]", seen) for i, (a, b) in enumerate(zip(old, new, strict=True))]
        return next((difference for difference in pairs if difference), None)
    if isinstance(old, types.FunctionType) and isinstance(new, types.FunctionType):
        return None if old.__code__ is new.__code__ or old.__code__ == new.__code__ else f"{place}, a function"
    if hasattr(old, "__array__") and hasattr(new, "__array__"):
        return None if np.array_equal(np.asarray(old), np.asarray(new)) else f"{place}, an array"
    if type(old) is not type(new):
        return f"{place}, {type(new).__name__} for {type(old).__name__}"
    is_object = hasattr(old, "__dict__") and not isinstance(old, type | types.ModuleType)
    return _difference_of_items(vars(old), vars(new), place, seen) if is_object else None


def _difference_of_items(old: Mapping[Any, Any], new: Mapping[Any, Any], place: str, seen: set[int]) -> str | None:
    for key, value in old.items():
        if key in _NOT_COMPARED or key not in new:  # attributes may be missing because they are created on first use
            continue
        difference = _difference(value, new[key], f"{place}.{key}" if isinstance(key, str) else place, seen)
        if difference is not None:
            return difference
    return None


def _message(layer: keras.layers.Layer, what: str) -> str:
    return (
        "Layers of the backbone that tasks do not share (shared_layers) must be such that Keras can copy them. "
        f"Received: layer '{layer.name}' ({type(layer).__name__}). {what}. Give the class a get_config that returns "
        "all its arguments and decorate it with keras.saving.register_keras_serializable(), or let tasks share it."
    )

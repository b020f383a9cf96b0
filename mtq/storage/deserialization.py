"""Deserializes configs that may come from a file, with known classes only and without importing modules."""

import json
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

_WITHOUT_MODULE = (None, "", "builtins")


def check_classes(config: Any, custom_objects: Mapping[str, Any] | None = None) -> None:
    """Raises a ValueError if a config names, at any depth, a class or function of a module that is not imported yet.

    Keras itself would import such a module if it belongs to Keras or to a related package such as KerasHub.

    Args:
        config: The config, made of JSON values.
        custom_objects: A mapping from names to the classes and functions that are accepted without their module.

    Raises:
        ValueError: The config names such a class or function.
    """
    stack = [config]  # not recursive, because a file can be nested arbitrarily deeply
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            if "class_name" in value:
                _check_class(value, custom_objects)
            stack.extend(value.values())
        elif isinstance(value, list | tuple):
            stack.extend(value)


def class_of(config: Any) -> Any:
    """Looks up the class that a config names.

    Args:
        config: The config of an object, as Keras serializes it.

    Returns:
        The class if it is registered or a public class of Keras; None otherwise.
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("class_name"), str):
        return None
    name, module = config["class_name"], config.get("module")
    registered = config.get("registered_name") or name
    found = keras.saving.get_registered_object(registered) if isinstance(registered, str) else None
    if found is None and isinstance(module, str) and module.partition(".")[0] == "keras":
        found = getattr(sys.modules.get(module), name, None)
    return found


def deserialize(role: str, config: Any, base: type) -> Any:
    """Creates an object from a config whose class is known and a subclass of a given one.

    Args:
        role: The role of the object, such as `"optimizer"`, for the message.
        config: The config, as Keras serializes objects.
        base: The class that the object must be an instance of.

    Returns:
        The object.

    Raises:
        ValueError: The config names a class that is unknown, or not a subclass of `base`.
    """
    found = class_of(config)
    if not isinstance(found, type) or not issubclass(found, base):
        received = config.get("class_name") if isinstance(config, Mapping) else config
        raise ValueError(
            f"The {role} must be the config of a registered {base.__name__}. Received: {received!r}. Import the module "
            "in which its class is registered (keras.saving.register_keras_serializable) before loading."
        )
    check_classes(config)
    return keras.saving.deserialize_keras_object(dict(config))


def load_model(filepath: str | Path, **options: Any) -> Any:
    """Loads a `.keras` file like `keras.models.load_model`, but never imports a module that the file names.

    Args:
        filepath: The file to load.
        options: The other arguments of `keras.models.load_model`.

    Returns:
        The model.

    Raises:
        ValueError: The file is not a complete `.keras` file, or names unknown classes.
    """
    try:
        with zipfile.ZipFile(filepath) as file:
            config = json.loads(file.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError) as error:
        raise ValueError(
            f"The file of a model must be a .keras file. Received: {str(filepath)!r}, which is not: {error}. Give a "
            "file that model.save wrote."
        ) from error
    check_classes(config)
    try:
        return keras.models.load_model(filepath, **options)
    except (OSError, KeyError) as error:  # the archive can be read, but not one of its parts
        raise ValueError(
            f"The file of a model must be a complete .keras file. Received: {str(filepath)!r}, a part of which cannot "
            f"be read: {error}. Give a file that model.save wrote."
        ) from error


def _check_class(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None) -> None:
    module, name = config.get("module"), config["class_name"]
    if module in _WITHOUT_MODULE or not isinstance(module, str) or module in sys.modules:
        return
    names = [candidate for candidate in (config.get("registered_name"), name) if isinstance(candidate, str)]
    if any(keras.saving.get_registered_object(candidate, custom_objects) is not None for candidate in names):
        return
    raise ValueError(
        f"A file must only name known classes. Received: {name!r} of the module {module!r}, which is not imported; mtq "
        "does not import modules that a file names. Import the module before loading if you trust it."
    )

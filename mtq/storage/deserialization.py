"""Deserialization of configs that may come from a file: only known classes are used, and nothing is imported."""

import json
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

_WITHOUT_MODULE = (None, "", "builtins")


def check_classes(config: Any, custom_objects: Mapping[str, Any] | None = None) -> None:
    """Refuses a config that names, at any depth, a class or function of a module that is not imported yet.

    Keras itself would import such a module if it belongs to Keras or to a related package such as KerasHub.

    Args:
        config: The config, JSON values.
        custom_objects: Classes and functions by name, for which no module is needed.

    Raises:
        ValueError: The config names such a class or function.
    """
    waiting = [config]  # not recursive, because a file can be nested arbitrarily deeply
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            if "class_name" in value:
                _check_class(value, custom_objects)
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)


def class_of(config: Any) -> Any:
    """Looks up the class that a config names.

    Args:
        config: The config of an object, as Keras serializes it.

    Returns:
        The class if it is registered or a public one of Keras; None otherwise.
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
    """Creates an object from a config, if its class is known and of the right kind.

    Args:
        role: The role of the object, such as `"optimizer"`, for the message.
        config: The config, as Keras serializes objects.
        base: The class of which the object must be an instance.

    Returns:
        The object.

    Raises:
        ValueError: The config names a class that is not known, or not a subclass of `base`.
    """
    found = class_of(config)
    if not isinstance(found, type) or not issubclass(found, base):
        received = config.get("class_name") if isinstance(config, Mapping) else config
        raise ValueError(
            f"The {role} must be the config of a registered {base.__name__}. Received: {received!r}. Import the module "
            "in which its class is registered (keras.saving.register_keras_serializable) before it is loaded."
        )
    check_classes(config)
    return keras.saving.deserialize_keras_object(dict(config))


def load_model(filepath: str | Path, **options: Any) -> Any:
    """Loads a `.keras` file like `keras.models.load_model`, but never imports a module that the file names.

    Args:
        filepath: The file to load.
        options: Further arguments of `keras.models.load_model`.

    Returns:
        The model.

    Raises:
        ValueError: The file is not a `.keras` file, or names classes that are not known.
    """
    try:
        with zipfile.ZipFile(filepath) as file:
            config = json.loads(file.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError) as error:
        raise ValueError(
            f"The file of a model must be a .keras file. Received: {str(filepath)!r}, which is none: {error}. Give one "
            "that model.save wrote."
        ) from error
    check_classes(config)
    try:
        return keras.models.load_model(filepath, **options)
    except (OSError, KeyError) as error:  # of a part of the archive, which itself could be read
        raise ValueError(
            f"The file of a model must be a whole .keras file. Received: {str(filepath)!r}, a part of which cannot be "
            f"read: {error}. Give one that model.save wrote."
        ) from error


def _check_class(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None) -> None:
    module, name = config.get("module"), config["class_name"]
    if module in _WITHOUT_MODULE or not isinstance(module, str) or module in sys.modules:
        return
    names = [known for known in (config.get("registered_name"), name) if isinstance(known, str)]
    if any(keras.saving.get_registered_object(known, custom_objects) is not None for known in names):
        return
    raise ValueError(
        f"A file must name classes that are known. Received: {name!r} of the module {module!r}, which is not imported, "
        "and mtq imports none because a file names it. Import it before loading, if you trust it."
    )

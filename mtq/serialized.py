"""Objects from configs that may come from a file: of classes that are known already, and nothing is imported."""

import json
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

_WITHOUT_MODULE = (None, "", "builtins")


def check_classes(config: Any, custom_objects: Mapping[str, Any] | None = None) -> None:
    """Refuses a config that names a class or function of a module that is not imported, anywhere in it.

    Keras imports the module that a config names if it is one of Keras's or its sisters', whether or not anything asked
    for it.

    Args:
        config: JSON values.
        custom_objects: Classes by name, which need no module.

    Raises:
        ValueError: There is such a name.
    """
    waiting = [config]  # and no recursion, which a file could make as deep as it likes
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            if "class_name" in value:
                _check_class(value, custom_objects)
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)


def class_of(config: Any) -> Any:
    """The class that a config names, if it is registered or one of Keras's public ones; None for others."""
    if not isinstance(config, Mapping) or not isinstance(config.get("class_name"), str):
        return None
    name, module = config["class_name"], config.get("module")
    registered = config.get("registered_name") or name
    found = keras.saving.get_registered_object(registered) if isinstance(registered, str) else None
    if found is None and isinstance(module, str) and module.partition(".")[0] == "keras":
        found = getattr(sys.modules.get(module), name, None)
    return found


def deserialize(role: str, config: Any, base: type) -> Any:
    """Makes an object of a config, if its class is known and of the right kind.

    Args:
        role: What it is, for the message.
        config: As Keras serializes objects.
        base: The class that it must be of.

    Raises:
        ValueError: It is of another class, or of one that is not known.
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
    """Loads a `.keras` file as `keras.models.load_model` does, but imports nothing that it names.

    Args:
        filepath: The file.
        options: Of `keras.models.load_model`.

    Raises:
        ValueError: It is no such file, or names classes that are not known.
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
    return keras.models.load_model(filepath, **options)


def _check_class(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None) -> None:
    module, name = config.get("module"), config["class_name"]
    if module in _WITHOUT_MODULE or not isinstance(module, str) or module in sys.modules:
        return
    names = [known for known in (config.get("registered_name"), name) if isinstance(known, str)]
    if any(keras.saving.get_registered_object(known, custom_objects) is not None for known in names):
        return
    raise ValueError(
        f"A file must name classes that are known. Received: {name!r} of the module {module!r}, which is not imported, "
        "and is not because a file says so. Import it before loading, if you trust it."
    )

"""What has to be settled before TensorFlow and Keras are imported."""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

_SERIALIZABLE_MODULES = ("mtq.tasks", "mtq.aggregators", "mtq.weightings", "mtq.networks", "mtq.model")


def prepare() -> None:
    """Sets what tf-agents needs of TensorFlow, and makes mtq's classes known to Keras.

    Raises:
        ImportError: TensorFlow was imported before, without `TF_USE_LEGACY_KERAS=1`.
    """
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    if os.environ.get("TF_USE_LEGACY_KERAS") not in ("1", "true", "True") or not getattr(
        tensorflow, "_tf_uses_legacy_keras", True
    ):
        raise ImportError(
            "mtq must be imported before TensorFlow and Keras, or TF_USE_LEGACY_KERAS=1 must be set in the environment "
            "before Python starts: tf-agents, which mtq's environments and replay stand on, loads only then. "
            f"Received: TF_USE_LEGACY_KERAS={os.environ.get('TF_USE_LEGACY_KERAS')!r}, "
            f"TensorFlow {'was already imported' if tensorflow else 'not yet imported'}. "
            "Put `import mtq` above `import tensorflow` and `import keras`."
        )
    if "keras" in sys.modules:
        _import_serializable_classes()
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _import_serializable_classes() -> None:
    for name in _SERIALIZABLE_MODULES:
        importlib.import_module(name)


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Imports mtq's serializable classes once Keras was imported, by itself or by a module of mtq.

    With it `keras.models.load_model` finds them although `import mtq` did not load TensorFlow. Where a module of mtq is
    what imports Keras, they wait until that is done, or they would find it half imported.
    """

    def __init__(self) -> None:
        self.is_importing = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if self.is_importing or not (fullname == "keras" or fullname.startswith("mtq.")):
            return None
        self.is_importing = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.is_importing = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Watched(spec.loader, self)
        return spec


class _Watched(importlib.abc.Loader):
    """A loader, but for what happens when it is done."""

    def __init__(self, loader: Any, finder: _AfterKeras) -> None:
        self._loader, self._finder = loader, finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = module.__spec__.loader = self._loader  # type: ignore[union-attr]
        self._finder.is_importing = True
        try:
            self._loader.exec_module(module)
        finally:
            self._finder.is_importing = False
        if "keras" in sys.modules and self._finder in sys.meta_path:
            self._finder.is_importing = True
            try:
                _import_serializable_classes()
            finally:
                self._finder.is_importing = False
            sys.meta_path.remove(self._finder)

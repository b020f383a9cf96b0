"""Checkpoints from which a run resumes: model, optimizer, replay buffers, environments and random numbers."""

import functools
import hashlib
import json
import math
import os
import re
import secrets
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from mtq.distribution.replicas import has_other_processes, local_replicas, sums, worker_index
from mtq.learning.model import MultiTaskDQN
from mtq.storage.files import as_path, write_json, written
from mtq.storage.folders import matches, remove_ours

if TYPE_CHECKING:
    from mtq.experience.experience import Experience  # which needs the interfaces

_NAME = re.compile(r"epoch_(\d{5,})")
_FILES = (r"(model|replica_\d+)\.npz", r"notes\.json", r"\.notes\.json\.[0-9a-f]+\.part")
OF_CHECKPOINTS = (r"\.\d+", r"epoch_\d{5,}/", r"\.epoch_\d{5,}\.part/", *(rf"[^/]+/{file}" for file in _FILES))
_is_ours = matches(*_FILES)
_PIECE = 2**23  # elements of a variable that are written at a time


class Checkpoint:
    """Saves and loads the state of a model and its experience. The folder keeps only complete checkpoints.

    Each process of a run writes the replay buffers of its own replicas; the chief also writes the model. When all have
    written, the chief renames the folder. If the run is killed at any moment, either the new checkpoint or the one
    before it is complete.

    Args:
        folder: The folder of the run's checkpoints, to which all processes of the run can write.
        model: The model that is trained.
        experience: The experience on which the model is trained.
    """

    def __init__(self, folder: str | Path, model: MultiTaskDQN, experience: "Experience") -> None:
        self.folder = as_path("folder of a checkpoint", folder)
        self._model, self._experience = model, experience
        self._strategy, self._worker = model.distribute_strategy, worker_index(model.distribute_strategy)

    def save(self, epoch: int, notes: Mapping[str, Any]) -> None:
        """Writes a checkpoint. Every process of the run must call it.

        Args:
            epoch: The number of finished epochs.
            notes: JSON values that are stored with the checkpoint; `load` returns them.
        """
        part = self.folder / f".epoch_{epoch:05d}.part"
        if self._worker == 0:
            _remove_unfinished(part)
            part.mkdir(parents=True)
            _write(part / "model.npz", _model_state(self._model))
            write_json(part / "notes.json", {"epoch": epoch, **notes})
        self.wait()
        for number, replica in zip(local_replicas(self._strategy), self._experience.replicas, strict=True):
            _write(part / f"replica_{number}.npz", replica.state())
        self._check_equal(epoch)
        if self._worker == 0:
            before = self._whole()
            os.replace(part, self._place(epoch))
            for old in before:
                remove_ours(old, _is_ours)

    def load(self, wanted: bool = True) -> dict[str, Any] | None:
        """Restores the last complete checkpoint. Every process of the run must call it.

        Args:
            wanted: Whether to load a checkpoint; False to start again even if there is one. Only the chief's value
                counts.

        Returns:
            The notes of the checkpoint with the number of finished epochs, `"epoch"`; None if there is no checkpoint.

        Raises:
            ValueError: The checkpoint belongs to another model, other tasks, or another number of replicas.
        """
        whole = self._whole() if wanted and self._worker == 0 else []
        last = int(whole[-1].name.removeprefix("epoch_")) if whole else 0
        epoch = round(sums(self._strategy, [last])[0])  # the chief's value, in all processes
        if not epoch:
            return None
        path = self._place(epoch)
        num_saved = len(list(path.glob("replica_*.npz")))
        num_replicas = self._strategy.num_replicas_in_sync
        if num_saved != num_replicas:
            raise ValueError(
                f"A run must be resumed with the number of replicas that wrote its checkpoint, {num_saved}, because "
                f"each has its own replay buffer. Received: {num_replicas}. Start the run on {num_saved} replicas."
            )
        notes = json.loads((path / "notes.json").read_text())
        _read(path / "model.npz", _model_state(self._model))
        for number, replica in zip(local_replicas(self._strategy), self._experience.replicas, strict=True):
            _read(path / f"replica_{number}.npz", replica.state(), replica.converted)
            replica.resume(epoch)
        return notes

    def check_shared(self) -> None:
        """Raises a ValueError in all processes if some do not see the chief's files. Every process must call it."""
        if not has_other_processes(self._strategy):
            return
        number = secrets.randbelow(2**50) if self._worker == 0 else 0
        if self._worker == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / f".{number}").touch()
        number = round(sums(self._strategy, [number])[0])
        seen = self.folder / f".{number}"
        blind = sums(self._strategy, [float(not seen.exists())])[0]
        if self._worker == 0:
            seen.unlink()
        if blind:
            raise ValueError(
                f"The folder of a run must be shared by all its processes. Received: {str(self.folder)!r}, in which "
                f"{blind:.0f} of them do not see what the chief wrote. Choose a folder (--out) on a file system that "
                "all machines have mounted at the same path."
            )

    def _check_equal(self, epoch: int) -> None:
        """Waits for all processes, and raises an ArithmeticError if their weights are not the same."""
        if not has_other_processes(self._strategy):
            return
        own = _fingerprint(_model_state(self._model))
        totals = sums(self._strategy, [*own, 1.0])
        if totals[:-1] != [number * totals[-1] for number in own]:
            raise ArithmeticError(
                f"All processes of a run must hold the same weights, to the bit. Received: weights after epoch {epoch} "
                f"that differ between process {self._worker} and others. The previous checkpoint is kept. Run the same "
                "versions on machines of the same kind, and resume the run (resume=True, --resume)."
            )

    def _place(self, epoch: int) -> Path:
        return self.folder / f"epoch_{epoch:05d}"

    def _whole(self) -> list[Path]:
        folders = [path for path in self.folder.glob("epoch_*") if _NAME.fullmatch(path.name)]
        return sorted(path for path in folders if (path / "model.npz").exists() and (path / "notes.json").exists())

    def wait(self) -> None:
        """Waits until all processes of the run have called it."""
        sums(self._strategy, [1.0])


def _remove_unfinished(part: Path) -> None:
    """Removes the unfinished checkpoint of a run that was killed."""
    if not remove_ours(part, _is_ours):
        raise FileExistsError(
            f"The folder of an unfinished checkpoint must hold nothing else. Received: {str(part)!r}, which holds "
            "files that mtq did not write. Move them, or choose another folder."
        )


def _model_state(model: MultiTaskDQN) -> dict[str, Any]:
    pluggable_variables = [*model.weighting.variables.values(), *model.aggregator.variables.values()]
    variables = [*model.variables, *model.optimizer.variables, *pluggable_variables]
    return {f"{number:04d}": variable for number, variable in enumerate(variables)}


def _fingerprint(state: Mapping[str, Any]) -> list[float]:
    """Computes the SHA-256 of all variables as eight integers below 2³², whose sums are exact in float64."""
    digest = hashlib.sha256()
    for variable in state.values():
        digest.update(np.ascontiguousarray(variable).tobytes())
    return np.frombuffer(digest.digest(), np.uint32).astype(float).tolist()


def _write(path: Path, state: Mapping[str, Any]) -> None:
    """Writes variables as `np.savez_compressed` does, but without a copy of all of them in memory."""
    with written(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, variable in state.items():
            with archive.open(f"{name.replace('/', '|')}.npy", "w", force_zip64=True) as part:
                _write_array(part, variable)


def _write_array(file: IO[bytes], variable: Any) -> None:
    first, *others = _pieces(variable)
    if not others:
        np.lib.format.write_array(file, first(), allow_pickle=False)
        return
    header = np.lib.format.header_data_from_array_1_0(first())
    np.lib.format.write_array_header_2_0(file, {**header, "shape": tuple(variable.shape)})
    for piece in (first, *others):
        file.write(np.ascontiguousarray(piece()).tobytes())


def _pieces(variable: Any) -> list[Callable[[], np.ndarray]]:
    """Returns functions that read a variable in pieces, of consecutive rows if it is large."""
    shape = tuple(variable.shape)
    rows = max(_PIECE // math.prod(shape[1:]), 1) if shape and math.prod(shape[1:]) else 0
    if not rows or shape[0] <= rows:
        return [lambda: np.asarray(variable)]

    def read(start: int) -> np.ndarray:
        # A slice reads the whole variable, which TensorFlow copies once scatter operations have updated it.
        return tf.gather(variable, np.arange(start, min(start + rows, shape[0]))).numpy()

    return [functools.partial(read, start) for start in range(0, shape[0], rows)]


def _read(path: Path, state: Mapping[str, Any], convert: Callable[[dict], dict] = dict) -> None:
    with np.load(path, allow_pickle=False) as file:
        saved = convert({name.replace("|", "/"): file[name] for name in file.files})
    alike = set(saved) == set(state) and all(
        saved[name].shape == tuple(variable.shape) for name, variable in state.items()
    )
    if not alike:
        raise ValueError(
            "The checkpoint must have been written with the same tasks, network, settings and version of mtq. "
            f"Received: {path}, which holds other variables. Start the run with its original options, or a new run in "
            "another folder."
        )
    for name, variable in state.items():
        variable.assign(tf.constant(saved[name], variable.dtype))

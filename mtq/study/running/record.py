"""What came of one run, and where it is kept."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from mtq.storage.files import written
from mtq.storage.folders import beside, matches

is_of_a_run = matches(r"network\.keras", r"arrays\.npz", r"scores\.json")


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """What came of one run. T tasks, E epochs.

    Attributes:
        arm: Its name.
        seed: Of the run.
        scores: `[E + 1, T]`; the first row is the untrained network's.
        cosines: Mean cosines between the tasks' gradients in each epoch, `[E, T, T]`; None where nothing is shared.
        probes: Observations that the run came by, for each task `[P, …]`.
        seconds: That it took.
        origin: Command and versions that made it.
    """

    arm: str
    seed: int
    scores: np.ndarray
    cosines: np.ndarray | None
    probes: dict[str, np.ndarray]
    seconds: float
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)

    def save(self, folder: Path, network: Any) -> None:
        """Writes it beside its place and renames it, so that there is a whole run or none.

        Args:
            folder: Its place: `scores.json`, `network.keras` and `arrays.npz` will lie there.
            network: The trained network that was evaluated, a `keras.Model`.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        with beside(folder) as new:
            new.mkdir()
            self._write(new, network)
            try:
                os.replace(new, folder)
            except OSError:
                if not (folder / "scores.json").exists():
                    raise  # if not, another process, cut loose from a killed study, was first

    def _write(self, folder: Path, network: Any) -> None:
        network.save(folder / "network.keras")
        with (folder / "network.keras").open("rb") as file:
            os.fsync(file.fileno())
        arrays = {f"probes/{name}": probes for name, probes in self.probes.items()}
        if self.cosines is not None:
            arrays["cosines"] = self.cosines
        with written(folder / "arrays.npz") as file:
            np.savez_compressed(file, **arrays)
        record = {name: getattr(self, name) for name in ("arm", "seed", "seconds", "origin")}
        with written(folder / "scores.json") as file:
            file.write(json.dumps({**record, "scores": self.scores.tolist()}).encode())

    @classmethod
    def load(cls, folder: Path) -> "RunRecord":
        """Reads what `save` wrote."""
        record = json.loads((folder / "scores.json").read_text())
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            cosines = arrays.get("cosines")
            probes = {name.removeprefix("probes/"): arrays[name] for name in arrays if name.startswith("probes/")}
        scores = np.array(record["scores"])
        return cls(record["arm"], record["seed"], scores, cosines, probes, record["seconds"], record["origin"])

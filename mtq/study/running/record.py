"""`RunRecord`: the results of one run, and the files that store them."""

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
    """The results of one run. T is the number of tasks, E the number of epochs.

    Attributes:
        arm: The name of the arm.
        seed: The seed of the run.
        scores: The score of each task before the first epoch and after each epoch, `[E + 1, T]`.
        cosines: The mean cosines between the tasks' gradients in each epoch, `[E, T, T]`; None if the tasks share no
            weights.
        probes: Observations from the run's replay buffer, `{task: [P, …]}`.
        seconds: The duration of the run in seconds.
        origin: The command that made the run, and the versions of the packages.
    """

    arm: str
    seed: int
    scores: np.ndarray
    cosines: np.ndarray | None
    probes: dict[str, np.ndarray]
    seconds: float
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)

    def save(self, folder: Path, network: Any) -> None:
        """Writes the record. The files are written elsewhere and then renamed, so that a run is complete or absent.

        Args:
            folder: The folder of the run, which will contain `scores.json`, `network.keras` and `arrays.npz`.
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
                    raise  # otherwise another process, left over from a killed study, has finished the run first

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
        """Reads the record that `save` wrote.

        Args:
            folder: The folder of the run.
        """
        record = json.loads((folder / "scores.json").read_text())
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            cosines = arrays.get("cosines")
            probes = {name.removeprefix("probes/"): arrays[name] for name in arrays if name.startswith("probes/")}
        scores = np.array(record["scores"])
        return cls(record["arm"], record["seed"], scores, cosines, probes, record["seconds"], record["origin"])

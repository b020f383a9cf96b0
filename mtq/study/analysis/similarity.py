"""How alike two networks see a task: centred kernel alignment of their features."""

from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from mtq.keras_internals import calls_of
from mtq.storage.deserialization import load_model
from mtq.study.analysis.results import Results
from mtq.study.running.folder import StudyFolder
from mtq.study.running.record import RunRecord

_MOST_PAIRS = 10
BETWEEN_SEEDS = "reference, other seeds"


class Similarity(NamedTuple):
    """The mean CKA between an arm's features and the reference's.

    Attributes:
        arm: Its name; or `BETWEEN_SEEDS`, for runs of the reference that differ in nothing but their seed.
        task: Whose observations were looked at.
        value: From 0, nothing in common, to 1, the same up to rotation and scale.
        pairs: Of networks that this is the mean over.
    """

    arm: str
    task: str
    value: float
    pairs: int


def linear_cka(first: np.ndarray, second: np.ndarray) -> float:
    """Linear centred kernel alignment, `‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖)` of centred features; 0 where one of them is constant.

    Args:
        first: X, `[P, F₁]`, of P observations.
        second: Y, `[P, F₂]`, of the same.

    Reference:
        Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019, equation 3.
    """
    x, y = (features.astype(np.float64) - features.mean(axis=0, dtype=np.float64) for features in (first, second))
    scale = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / scale) if scale > 0 else 0.0


def similarities(results: Results, path: str | Path) -> list[Similarity]:
    """Compares the features before the heads: every arm's with those of the reference's run from the next seed.

    Both networks see the same observations, half of them from the one's replay and half from the other's. What the
    reference has in common with itself from the next seed is the yardstick.

    Args:
        results: Of a study.
        path: Its folder.

    Returns:
        For each task the yardstick, if there are two runs of the reference, and a row for each other arm.
    """
    views = _Views(StudyFolder(path), results.tasks)
    reference = results[results.reference]
    between = [
        (reference.name, a, reference.name, b) for a, b in zip(reference.seeds, reference.seeds[1:], strict=False)
    ]
    groups = {BETWEEN_SEEDS: between}
    for arm in results.others:
        groups[arm.name] = [(arm.name, seed, reference.name, _next(seed, reference.seeds)) for seed in arm.seeds]
    rows = []
    for name, pairs in groups.items():
        pairs = pairs[:_MOST_PAIRS]
        values = np.array([views.compare(*pair) for pair in pairs])  # [pairs, T]
        rows += [
            Similarity(name, task, float(values[:, place].mean()), len(pairs))
            for place, task in enumerate(results.tasks)
            if pairs
        ]
    return rows


def _next(seed: int, seeds: list[int]) -> int:
    """The seed after this one, the first after the last: other weights at the start, whatever the arm."""
    return next((other for other in seeds if other > seed), seeds[0])


def _head_inputs(network: keras.Model, task: str) -> Any:
    """The inputs of the layer that computes a task's action values."""
    output = network.output[task]
    return next(call.layer.input for call in calls_of(network) if any(output is one for one in call.outputs))


class _Views:
    """The networks of a study's runs and what they make of observations."""

    def __init__(self, folder: StudyFolder, tasks: tuple[str, ...]) -> None:
        self._folder, self._tasks = folder, tasks
        self._loaded: dict[tuple[str, int], tuple[dict[str, np.ndarray], Any]] = {}

    def compare(self, arm: str, seed: int, other: str, other_seed: int) -> list[float]:
        """Of two runs the CKA for each task."""
        (probes, features), (other_probes, other_features) = self._load(arm, seed), self._load(other, other_seed)
        values = []
        for place, task in enumerate(self._tasks):
            observations = np.concatenate([probes[task], other_probes[task]])
            values.append(linear_cka(features(observations, place), other_features(observations, place)))
        return values

    def _load(self, arm: str, seed: int) -> tuple[dict[str, np.ndarray], Any]:
        if (arm, seed) not in self._loaded:
            place = self._folder.place(arm, seed)
            network = load_model(place / "network.keras", compile=False)
            paths = [keras.Model(network.input[task], _head_inputs(network, task)) for task in self._tasks]
            features = lambda observations, place: np.asarray(paths[place](observations, training=False)).reshape(  # noqa: E731
                len(observations), -1
            )
            self._loaded[arm, seed] = (RunRecord.load(place).probes, features)
        return self._loaded[arm, seed]

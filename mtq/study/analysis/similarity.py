"""The similarity of two networks' features on a task: centered kernel alignment (CKA)."""

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
        arm: The name of the arm; or `BETWEEN_SEEDS`, for runs of the reference that differ only in their seed.
        task: The name of the task whose observations the networks received.
        value: The mean CKA, from 0 (nothing in common) to 1 (the same up to rotation and scale).
        pairs: The number of pairs of networks in the mean.
    """

    arm: str
    task: str
    value: float
    pairs: int


def linear_cka(first: np.ndarray, second: np.ndarray) -> float:
    """Computes linear centered kernel alignment, `‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖)` of centered features.

    Args:
        first: The features X of P observations, `[P, F₁]`.
        second: The features Y of the same observations, `[P, F₂]`.

    Returns:
        The alignment, from 0 to 1; 0 if the features of one network are constant.

    Reference:
        Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019, equation 3.
    """
    x, y = (features.astype(np.float64) - features.mean(axis=0, dtype=np.float64) for features in (first, second))
    scale = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / scale) if scale > 0 else 0.0


def similarities(results: Results, path: str | Path) -> list[Similarity]:
    """Compares the features before the heads of every arm with those of the reference.

    Each run of an arm is compared with the reference's run from the next seed. Both networks receive the same
    observations, half of them from the replay buffer of each run. The similarity of the reference's runs to each other
    serves as the baseline.

    Args:
        results: The results of a study.
        path: The folder of the study.

    Returns:
        For each task a row for the baseline, if there are two runs of the reference, and a row for each other arm.
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
    """Returns the seed after this one, or the first after the last; its run starts from other weights."""
    return next((other for other in seeds if other > seed), seeds[0])


def _head_inputs(network: keras.Model, task: str) -> Any:
    """The inputs of the layer that computes a task's action values."""
    output = network.output[task]
    return next(call.layer.input for call in calls_of(network) if any(output is one for one in call.outputs))


class _Views:
    """The networks of a study's runs, which are loaded when they are first compared."""

    def __init__(self, folder: StudyFolder, tasks: tuple[str, ...]) -> None:
        self._folder, self._tasks = folder, tasks
        self._loaded: dict[tuple[str, int], tuple[dict[str, np.ndarray], Any]] = {}

    def compare(self, arm: str, seed: int, other: str, other_seed: int) -> list[float]:
        """Computes the CKA of two runs' features for each task."""
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

"""Compares mtq's distributional losses with those of tf-agents and of sb3-contrib on random inputs.

    python -m benchmarks.same_values

The projection of C51 is compared with tf-agents' in this process, the quantile Huber loss with sb3-contrib's in the
venv of the benchmarks. It prints the largest difference of projected probabilities, and the largest difference of
quantile losses relative to the largest loss of a case. The last line is one JSON object.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from mtq import value_learning as vl
from mtq.interfaces.tf_agents_import import with_legacy_keras

_PYTHON = Path(__file__).parent.parent / ".venv-benchmarks" / "bin" / "python"
_SB3 = """
import sys
import numpy as np, torch as th
from sb3_contrib.common.utils import quantile_huber_loss

data = np.load(sys.argv[1])
losses = []
for theta, targets in zip(data["theta"], data["targets"]):
    of_row = lambda row: th.tensor(row[None])
    losses.append([float(quantile_huber_loss(of_row(a), of_row(b), sum_over_quantiles=True))
                   for a, b in zip(theta, targets)])
np.save(sys.argv[2], np.array(losses))
"""


def projection_difference(cases: int = 50) -> float:
    """Returns the largest difference from tf-agents' projection of categorical distributions."""
    with with_legacy_keras():
        from tf_agents.agents.categorical_dqn.categorical_dqn_agent import project_distribution
    random, largest = np.random.default_rng(0), 0.0
    for _ in range(cases):
        rows, number = random.integers(1, 65), random.integers(2, 102)
        high = 10.0 ** random.uniform(-2, 3)
        support = tf.constant(np.linspace(-high, high, number), tf.float32)
        rewards = random.normal(scale=high, size=(rows, 1))
        discounts = 0.99 * random.integers(2, size=(rows, 1))
        atoms = tf.constant(rewards + discounts * support.numpy(), tf.float32)
        weights = tf.constant(random.dirichlet(np.ones(number), rows), tf.float32)
        ours = vl.categorical_projection(atoms, weights, support)
        theirs = project_distribution(atoms, weights, support)
        largest = max(largest, float(tf.reduce_max(tf.abs(ours - theirs))))
    return largest


def quantile_difference(cases: int = 20) -> float:
    """Returns the largest difference from sb3-contrib's quantile Huber loss, relative to the largest loss of a case."""
    random = np.random.default_rng(1)
    scales = 10.0 ** random.uniform(-2, 2, (cases, 1, 1))
    theta, targets = (np.float32(scales * random.normal(size=(cases, 32, 51))) for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "inputs.npz", Path(folder) / "outputs.npy"
        np.savez(inputs, theta=theta, targets=targets)
        subprocess.run([str(_PYTHON), "-c", _SB3, str(inputs), str(outputs)], check=True)
        theirs = np.load(outputs)
    ours = np.array([vl.quantile_huber(*map(tf.constant, pair)) for pair in zip(theta, targets, strict=True)])
    return float((np.abs(ours - theirs).max(axis=1) / theirs.max(axis=1)).max())


def main() -> dict[str, float]:
    """Makes both comparisons and prints the differences."""
    if not _PYTHON.exists():
        sys.exit("benchmarks.same_values needs .venv-benchmarks. Run: make .venv-benchmarks/.installed")
    figures = {"projection": projection_difference(), "quantile_huber": quantile_difference()}
    print(f"C51's projection against tf-agents':               {figures['projection']:.1e}")
    print(f"the quantile Huber loss against sb3-contrib's:      {figures['quantile_huber']:.1e}")
    return figures


if __name__ == "__main__":
    print(json.dumps(main()))

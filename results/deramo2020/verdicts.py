"""The verdicts of the study's present test on the runs in numbers.csv: `python results/deramo2020/verdicts.py`.

Writes verdicts.csv beside it: every arm against the separate networks, and the pairs of `recipes/deramo2020.py`.
"""

import mtq  # noqa: F401  (before TensorFlow)

# isort: split
import collections
import csv
import types
from pathlib import Path

import numpy as np

from mtq.study.results import Results
from mtq.study.transfer import compare
from recipes.deramo2020 import COMPARISONS

FOLDER = Path(__file__).parent


def load() -> Results:
    """The figures of every run, as far as a comparison needs them."""
    runs: dict = collections.defaultdict(lambda: collections.defaultdict(dict))
    random: dict[str, float] = {}
    with (FOLDER / "numbers.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["section"] == "random policy":
                random[row["task"]] = float(row["value"])
            elif row["section"] == "runs":
                figure, seed = row["of"].split(", seed ")
                runs[row["arm"]][figure].setdefault(int(seed), {})[row["task"]] = float(row["value"])
    tasks = tuple(random)
    arms = []
    for name, figures in runs.items():
        arrays = {
            f: np.array([[s[t] for t in tasks] for _, s in sorted(seeds.items())]) for f, seeds in figures.items()
        }
        arms.append(types.SimpleNamespace(name=name, **arrays))
    return Results(tasks, arms, "separate", np.array([random[task] for task in tasks]))


def main() -> None:
    """Tests, and writes the table."""
    results = load()
    with_reference = [(name, "separate") for name in results.names if name != "separate"]
    with (FOLDER / "verdicts.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["figure", "arm", "against", "task", "difference", "p", "p corrected", "verdict"])
        for figure in ("last", "area"):
            for pairs in (with_reference, COMPARISONS):
                for row in compare(results, pairs, figure):
                    numbers = [f"{number:.4g}" for number in (row.difference, row.p, row.p_corrected)]
                    writer.writerow([figure, row.arm, row.against, row.task, *numbers, row.verdict])
    print(f"Wrote {FOLDER / 'verdicts.csv'}")


if __name__ == "__main__":
    main()

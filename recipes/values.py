"""Measures what each part of modern value learning adds to mtq's best settings on the classic suite.

    python recipes/values.py                 # the parts, one at a time, and together
    python recipes/values.py --suite scaled  # return scales, with rewards of very different sizes

The protocol is that of recipes/deramo2020.py. The base arm `mtq` has mtq's best settings there: Double DQN, 2-step
returns, normalized gradients, and others. Most further arms add one part; `together` and `rainbow` add several,
those named `sum` have plain gradients, and `munchausen` replaces the targets of Double DQN. The suite `scaled`
multiplies the rewards of MountainCar by 100 and those of CarOnHill by 0.01, and compares return scales with normalized
and with plain gradients. Called again, the recipe makes only the missing runs. recipes/README.md has the scores and the
conclusions.
"""

if __name__ == "__main__":  # import TensorFlow without its notices
    from pathlib import Path
    from runpy import run_path

    run_path(str(Path(__file__).with_name("quiet.py")))

import dataclasses
import sys
from pathlib import Path
from typing import Any

import keras

sys.path.insert(0, str(Path(__file__).parent.parent))

import mtq
from recipes import deramo2020

SUITES = ("classic", "scaled")
RETURNS = {
    "cart_pole": (0.0, 100.0),
    "acrobot": (-100.0, 0.0),
    "mountain_car": (-100.0, 0.0),
    "car_on_hill": (-1.0, 1.0),
    "inverted_pendulum": (-1.0, 0.0),
}
"""The lowest and the highest possible discounted return of each task."""
MARGIN = 0.2
"""The share of the range of returns by which a support extends beyond each of its ends."""
RANDOM_ACTIONS = ("exploration_steps", "repeat_exponent")
"""The settings of the base arm that have no effect in arms whose noise explores."""
SCALES = {"mountain_car": 100.0, "car_on_hill": 0.01}
"""The factors of the rewards in the suite `scaled`."""


@dataclasses.dataclass(frozen=True)
class Options(mtq.settings.StudyRunOptions):
    """Settings of the study."""

    suite: str = mtq.settings.option("classic", choices=SUITES)
    """The suite: classic, or scaled, with rewards of very different sizes."""
    runs: int = 10
    """The number of runs of each arm, one from each seed."""
    first_seed: int = 100
    """The first seed; the others follow it. Those below 100 took part in choosing the base arm's settings."""
    arms: list[str] = dataclasses.field(default_factory=list)
    """The names of the arms; by default all. The base arm is always among them."""
    epochs: int = 50
    """The number of epochs, each of which consists of 1,000 updates and an evaluation over 2,000 steps of each task."""
    out: str = "runs/values"
    """The folder of the studies, which has a folder for each suite."""


def base() -> dict[str, Any]:
    """Returns the settings of the base arm, those of the arm `mtq` of recipes/deramo2020.py."""
    (arm,) = (arm for arm in deramo2020.arms_beyond() if arm.name == "mtq")
    return {name: value for name, value in arm.get_config().items() if name not in ("name", "loss", "parameters_of")}


def arms_of(suite: str) -> list[mtq.study.Arm]:
    """Returns the arms of a suite.

    Args:
        suite: The suite.
    """
    best = base()
    scalar = {**best, "loss": "squared"}
    plain = {**scalar, "aggregator": "sum"}
    distributional = {**best, "loss": None}
    together = {**distributional, "heads": "hl_gauss", "return_scaling": "running", "normalization": "layer"}
    scales = [
        mtq.study.Arm("mtq", **scalar),
        mtq.study.Arm("running", **scalar, return_scaling="running"),
        mtq.study.Arm("popart", **scalar, return_scaling="popart"),
        mtq.study.Arm("sum", **plain),
        mtq.study.Arm("sum_running", **plain, return_scaling="running"),
        mtq.study.Arm("sum_popart", **plain, return_scaling="popart"),
        mtq.study.Arm("together", **together),
    ]
    if suite == "scaled":
        return scales
    without_double = {**scalar, "double": False}
    return [
        *scales,
        mtq.study.Arm("categorical", **distributional, heads="categorical"),
        mtq.study.Arm("hl_gauss", **distributional, heads="hl_gauss"),
        mtq.study.Arm("quantile", **distributional, heads="quantile"),
        mtq.study.Arm("dueling", **scalar, dueling=True),
        mtq.study.Arm("prioritized", **scalar, sampler="prioritized"),
        mtq.study.Arm("munchausen", **without_double, munchausen=True),
        mtq.study.Arm("noisy", **_without(scalar, *RANDOM_ACTIONS), noisy=True, initial_epsilon=0.0, final_epsilon=0.0),
        mtq.study.Arm("layer_norm", **scalar, normalization="layer"),
        mtq.study.Arm("rainbow", **_without(distributional, "double", "n_step", *RANDOM_ACTIONS), preset="rainbow"),
    ]


COMPARISONS = (("sum", "mtq"), ("sum", "sum_running"), ("sum", "sum_popart"))
"""The pairs of arms that are compared in addition to those with the base arm."""


def tasks_of(suite: str) -> mtq.TaskSet:
    """Returns the tasks of a suite.

    Args:
        suite: The suite.
    """
    factors = SCALES if suite == "scaled" else {}
    tasks = deramo2020.tasks()
    return mtq.TaskSet([dataclasses.replace(task, reward_scale=factors.get(name, 1.0)) for name, task in tasks.items()])


def make_network(tasks: mtq.TaskSet, arm: mtq.study.Arm) -> keras.Model:
    """Returns the network of an arm, that of recipes/deramo2020.py.

    Without a scaling of returns, the support of a histogram follows from the range of the task's returns.

    Args:
        tasks: The tasks.
        arm: The arm.
    """
    settings = arm.network_settings
    kinds = {"categorical": mtq.heads.Categorical, "hl_gauss": mtq.heads.HLGauss}
    if settings.get("heads") not in kinds or settings.get("return_scaling") is not None:
        return deramo2020.make_network(tasks, arm)
    heads = {}
    for name in tasks:
        low, high = RETURNS[name]
        margin = MARGIN * (high - low)
        heads[name] = kinds[settings["heads"]](low - margin, high + margin)
    return deramo2020.make_network(tasks, arm, heads=heads)


def main(options: Options) -> mtq.study.Report | None:
    """Makes the missing runs of a suite and writes the report.

    Args:
        options: The settings of the study.

    Returns:
        The report; None if other shards have unfinished runs; the one that finishes last writes the report.
    """
    if options.suite not in SUITES:
        raise ValueError(f"suite must be one of {', '.join(SUITES)}. Received: {options.suite!r}.")
    strategy, shard = mtq.study.where(options.strategy, options.devices, options.shard)
    arms = {arm.name: arm for arm in arms_of(options.suite)}
    wanted = options.arms or list(arms)
    for name in wanted:
        if name not in arms:
            raise ValueError(f"arms must be names of {', '.join(arms)}. Received: {name!r}.")
    study = mtq.study.Study(
        tasks_of(options.suite),
        [arms[name] for name in dict.fromkeys(["mtq", *wanted])],
        reference="mtq",
        comparisons=[pair for pair in COMPARISONS if set(pair) <= {"mtq", *wanted}],
        protocol=deramo2020.protocol(options.epochs),
        seeds=range(options.first_seed, options.first_seed + options.runs),
        make_network=make_network,
    )
    report = study.run_shard(Path(options.out) / options.suite, shard, workers=options.workers, strategy=strategy)
    if report is not None:
        print(f"Wrote {report.write('What the parts of value learning add')}")
    return report


def _without(settings: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}


if __name__ == "__main__":
    main(mtq.settings.parse(Options))

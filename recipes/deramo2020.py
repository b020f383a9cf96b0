"""What sharing does: the DQN experiment of D'Eramo et al. (ICLR 2020) reproduced, and then beaten.

    python recipes/deramo2020.py --runs 10               # both published arms
    python recipes/deramo2020.py --runs 10 --beyond all  # and mtq's

Five tasks are learnt by separate networks or by one that shares all but encoders and heads; with `--beyond` in other
ways too, on the same number of environment steps. Writes runs/deramo2020 (report.html, report.md, numbers.csv), with
the published curves beside ours. Called again it makes only the runs that are missing: more runs, or the arms beyond.
Scores, command and what was learnt: recipes/README.md.
"""

if __name__ == "__main__":
    import quiet  # noqa: F401  (TensorFlow without its notices)

import dataclasses
from pathlib import Path
from typing import Any

import keras
import simple_parsing

import mtq

_DATA = Path(__file__).parent / "data"


@dataclasses.dataclass
class Options:
    """Settings of the study."""

    runs: int = 10
    """Of each arm, one from each seed."""
    first_seed: int = 0
    """From which seeds count up."""
    beyond: list[str] = dataclasses.field(default_factory=list)
    """Which further arms to make too: mtq, huber, unnormalized, normalized, double, upgrad, famo, matched, one_layer,
    or all."""
    epochs: int = 50
    """Each of 1,000 updates, and an evaluation of 2,000 steps of each task. Published are 50."""
    workers: int | None = None
    """Runs that are made at once; by default one per core."""
    out: str = "runs/deramo2020"
    """Folder of the study."""
    strategy: str = "auto"
    """Where: auto, cpu, mirrored; or multi_worker: the processes of TF_CONFIG make a shard of the runs each."""
    devices: int | None = None
    """Replicas of the strategy mirrored, which make each run together; without GPUs these are logical CPUs."""
    shard: str | None = None
    """Make only part I of N of the runs, as I/N from 0; other machines make the others in the same folder."""


def tasks() -> mtq.TaskSet:
    """The classic suite, with the paper's horizon for Acrobot."""
    classic = mtq.suites.classic()
    acrobot = dataclasses.replace(classic["acrobot"], max_episode_steps=1_000, reference_return=-100.0)
    return mtq.TaskSet([acrobot if name == "acrobot" else task for name, task in classic.items()])


def published_arms() -> list[mtq.study.Arm]:
    """The two of the paper."""
    return [
        mtq.study.Arm("separate", shared_layers=0, aggregator="sum"),
        # The loss is a mean over the stacked batch of all tasks: the mean of their losses.
        mtq.study.Arm("shared", aggregator="mean"),
    ]


def arms_beyond() -> list[mtq.study.Arm]:
    """What mtq has to offer, and what it has to be held against."""
    best: dict[str, Any] = {
        "width": 2,  # it still has fewer parameters than the separate networks together
        "aggregator": "normalized_sum",
        "loss_weights": {**dict.fromkeys(tasks(), 1.0), "mountain_car": 2.0},  # it is found last
        "double": True,
        "n_step": 2,
        "replay_capacity": 20_000,
        "exploration_steps": 10_000,
        "repeat_exponent": 2.0,
        "final_learning_rate": 2e-4,
        "target_update_tau": 0.01,
        "evaluates_target": True,
    }
    return [
        mtq.study.Arm("mtq", **best, loss="squared"),
        mtq.study.Arm("huber", **best),  # the protocol's loss: what it costs
        mtq.study.Arm("unnormalized", **{**best, "aggregator": "sum"}, loss="squared"),
        mtq.study.Arm("normalized", aggregator="normalized_sum"),
        mtq.study.Arm("double", aggregator="mean", double=True),
        mtq.study.Arm("upgrad", aggregator="upgrad"),
        mtq.study.Arm("famo", loss_weights="famo", aggregator="sum"),
        mtq.study.Arm("matched", shared_layers=0, aggregator="sum", parameters_of="shared"),
        mtq.study.Arm("one_layer", shared_layers=1, aggregator="mean"),
    ]


COMPARISONS = (
    ("huber", "mtq"),
    ("unnormalized", "mtq"),
    ("normalized", "shared"),
    ("double", "shared"),
    ("upgrad", "shared"),
    ("matched", "shared"),
)
"""The pairs of arms that README and recipes/README compare, besides those with the separate networks."""


def protocol(epochs: int = 50) -> mtq.study.Protocol:
    """The paper's settings."""
    return mtq.study.Protocol(
        epochs=epochs,
        updates_per_epoch=1_000,
        batch_size=100,
        steps_per_update=1,
        learning_rate=1e-3,
        loss="huber",
        target_update_period=100,
        replay_capacity=5_000,
        warmup_steps=100,
        initial_epsilon=1.0,
        final_epsilon=0.01,
        exploration_steps=5_000,
        restarts_episodes=True,
        evaluation_steps=2_000,
    )


def make_network(tasks: mtq.TaskSet, arm: mtq.study.Arm) -> keras.Model:
    """The paper's: an encoder of 80 units, two layers of 80 that may be shared, the last one a sigmoid's, and a head.

    Weights are Xavier's, with a gain of √2 but for the heads; biases uniform as PyTorch draws them.

    Args:
        tasks: The tasks.
        arm: Whose `shared_layers` are shared.
    """
    units = mtq.study.scaled(80, arm.width)

    def layer(inputs: int, activation: str, name: str) -> keras.layers.Dense:
        return keras.layers.Dense(
            units,
            activation=activation,
            kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_avg", "uniform"),
            bias_initializer=_uniform(inputs),
            name=name,
        )

    encoders = {name: layer(task.spec.observation_shape[0], "relu", f"{name}_encoder") for name, task in tasks.items()}
    hidden = keras.Sequential([layer(units, "relu", "hidden_0"), layer(units, "sigmoid", "hidden_1")], name="backbone")
    network = mtq.networks.shared_q_network(tasks, hidden, encoders, shared_layers=arm.shared_layers)
    for name in tasks:
        network.get_layer(f"{name}_q_values").bias_initializer = _uniform(units)  # Glorot's kernel is there already
    return network


def _uniform(inputs: int) -> keras.initializers.Initializer:
    return keras.initializers.RandomUniform(-(inputs**-0.5), inputs**-0.5)


def published() -> mtq.study.Published:
    """The paper's results, of 100 runs of each arm."""
    return mtq.study.Published.load(
        "D'Eramo et al., Sharing Knowledge in Multi-Task Deep Reinforcement Learning, ICLR 2020; 100 runs of each arm",
        curves=_DATA / "deramo2020_curves.csv",
        figures=_DATA / "deramo2020_figures.csv",
        arms={"separate": "single", "shared": "shared"},
    )


def main(options: Options) -> mtq.study.Report | None:
    """Makes the runs that are missing and writes the report; a shard that is not the last to end leaves that to it."""
    strategy, shard = mtq.study.where(options.strategy, options.devices, options.shard)
    beyond = {arm.name: arm for arm in arms_beyond()}
    wanted = list(beyond) if options.beyond == ["all"] else options.beyond
    for name in wanted:
        if name not in beyond:
            raise ValueError(f"beyond must name arms, {', '.join(beyond)}, or be all. Received: {name!r}.")
    arms = [*published_arms(), *(beyond[name] for name in wanted)]
    names = {arm.name for arm in arms}
    study = mtq.study.Study(
        tasks(),
        arms,
        comparisons=[pair for pair in COMPARISONS if set(pair) <= names],
        protocol=protocol(options.epochs),
        seeds=range(options.first_seed, options.first_seed + options.runs),
        make_network=make_network,
    )
    report = study.run_shard(options.out, shard, workers=options.workers, strategy=strategy)
    if report is not None:
        report.publication = published()
        print(f"Wrote {report.write('Sharing knowledge in multi-task deep Q-learning')}")
    return report


if __name__ == "__main__":
    main(simple_parsing.parse(Options))

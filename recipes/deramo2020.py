"""Reproduces the DQN experiment of D'Eramo et al. (ICLR 2020), and compares further arms with it.

    python recipes/deramo2020.py --runs 10               # the two published arms
    python recipes/deramo2020.py --runs 10 --beyond all  # and mtq's

The arms of the paper learn five tasks with separate networks, or with one network that shares all layers but encoders
and heads. `--beyond` adds arms with other settings and the same number of environment steps. The study is written to
runs/deramo2020 (report.html, report.md, numbers.csv), with the published curves beside its own. Called again, the
recipe makes only the missing runs, such as those of more seeds or further arms. recipes/README.md has the scores, the
command and the conclusions.
"""

if __name__ == "__main__":  # import TensorFlow without its notices
    from pathlib import Path
    from runpy import run_path

    run_path(str(Path(__file__).with_name("quiet.py")))

import dataclasses
from pathlib import Path
from typing import Any

import keras

import mtq

_DATA = Path(__file__).parent / "data"


@dataclasses.dataclass(frozen=True)
class Options(mtq.settings.StudyRunOptions):
    """Settings of the study."""

    runs: int = 10
    """The number of runs of each arm, one from each seed."""
    first_seed: int = 0
    """The first seed; the others follow it."""
    beyond: list[str] = dataclasses.field(default_factory=list)
    """The further arms: mtq, huber, unnormalized, normalized, double, upgrad, famo, matched, one_layer, or all."""
    epochs: int = 50
    """The number of epochs, each of which consists of 1,000 updates and an evaluation over 2,000 steps of each task;
    50 in the paper."""
    out: str = "runs/deramo2020"


def tasks() -> mtq.TaskSet:
    """Returns the classic suite, with the paper's time limit for Acrobot."""
    classic = mtq.suites.classic()
    acrobot = dataclasses.replace(classic["acrobot"], max_episode_steps=1_000, reference_return=-100.0)
    return mtq.TaskSet([acrobot if name == "acrobot" else task for name, task in classic.items()])


def published_arms() -> list[mtq.study.Arm]:
    """Returns the two arms of the paper."""
    return [
        mtq.study.Arm("separate", shared_layers=0, aggregator="sum"),
        # The paper's loss is a mean over the stacked batch of all tasks, that is, the mean of the tasks' losses.
        mtq.study.Arm("shared", aggregator="mean"),
    ]


def arms_beyond() -> list[mtq.study.Arm]:
    """Returns the further arms: mtq's best settings, these without one ingredient, single ingredients, baselines."""
    best: dict[str, Any] = {
        "width": 2,  # the network still has fewer parameters than the separate networks together
        "aggregator": "normalized_sum",
        "loss_weights": {**dict.fromkeys(tasks(), 1.0), "mountain_car": 2.0},  # its goal is found last
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
        mtq.study.Arm("huber", **best),  # with the protocol's loss, to measure what it costs
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
"""The pairs of arms that README and recipes/README compare, in addition to those with the separate networks."""


def protocol(epochs: int = 50) -> mtq.study.Protocol:
    """Returns the protocol with the paper's settings.

    Args:
        epochs: The number of epochs.
    """
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


def make_network(tasks: mtq.TaskSet, arm: mtq.study.Arm, **settings: Any) -> keras.Model:
    """Returns the paper's network for an arm.

    Each task has an encoder of 80 units and a linear head. Between them are two layers of 80 units that may be shared,
    the second with a sigmoid. Weights are initialized as Xavier's, with a gain of √2 except in the heads; biases are
    uniform, as PyTorch draws them.

    Args:
        tasks: The tasks.
        arm: The arm. Its `width` multiplies the numbers of units, its `shared_layers` are shared, its
            `network_settings` are those of the heads, and its layers have layer normalization if its
            `backbone_settings` say so.
        settings: Arguments of `mtq.networks.shared_q_network`, which take precedence over those of the arm.
    """
    units = mtq.study.scaled(80, arm.width)
    normalization = arm.backbone_settings.get("normalization")
    if normalization not in (None, "layer"):
        raise ValueError(f"normalization of arm '{arm.name}' must be 'layer' or None. Received: {normalization!r}.")
    is_normalized = normalization == "layer"

    def layers(inputs: int, activation: str, name: str) -> list[keras.layers.Layer]:
        dense = keras.layers.Dense(
            units,
            activation=None if is_normalized else activation,
            kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_avg", "uniform"),
            bias_initializer=_uniform(inputs),
            name=name,
        )
        if not is_normalized:
            return [dense]
        normalization = keras.layers.LayerNormalization(epsilon=1e-5, name=f"{name}_normalization")
        return [dense, normalization, keras.layers.Activation(activation, name=f"{name}_activation")]

    encoders: dict[str, Any] = {}
    for name, task in tasks.items():
        first, *others = layers(task.spec.observation_shape[0], "relu", f"{name}_encoder")
        encoders[name] = keras.Sequential([first, *others], name=f"{name}_encoder_layers") if others else first
    hidden = [*layers(units, "relu", "hidden_0"), *layers(units, "sigmoid", "hidden_1")]
    network = mtq.networks.shared_q_network(
        tasks,
        keras.Sequential(hidden, name="backbone"),
        encoders,
        shared_layers=arm.shared_layers,
        **{**arm.network_settings, **settings},
    )
    for path in mtq.networks.TaskPaths(network, tasks).values():
        layer = mtq.heads.end_of(path).layer
        if isinstance(layer, keras.layers.Dense):
            layer.bias_initializer = _uniform(units)  # its kernel is Glorot's by default
    return network


def _uniform(inputs: int) -> keras.initializers.Initializer:
    return keras.initializers.RandomUniform(-(inputs**-0.5), inputs**-0.5)


def published() -> mtq.study.Published:
    """Returns the paper's results, from 100 runs of each arm."""
    return mtq.study.Published.load(
        "D'Eramo et al., Sharing Knowledge in Multi-Task Deep Reinforcement Learning, ICLR 2020; 100 runs of each arm",
        curves=_DATA / "deramo2020_curves.csv",
        figures=_DATA / "deramo2020_figures.csv",
        arms={"separate": "single", "shared": "shared"},
    )


def main(options: Options) -> mtq.study.Report | None:
    """Makes the missing runs and writes the report.

    Args:
        options: The settings of the study.

    Returns:
        The report; None if other shards have still to make some of the runs, the last of which writes the report.
    """
    strategy, shard = mtq.study.where(options.strategy, options.devices, options.shard)
    beyond = {arm.name: arm for arm in arms_beyond()}
    wanted = list(beyond) if options.beyond == ["all"] else options.beyond
    for name in wanted:
        if name not in beyond:
            raise ValueError(f"beyond must be all, or names of {', '.join(beyond)}. Received: {name!r}.")
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
    main(mtq.settings.parse(Options))

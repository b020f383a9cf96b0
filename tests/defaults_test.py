"""One setting has one default wherever it can be given; docs/defaults.md says what was measured."""

import argparse
import dataclasses
import inspect

import mtq
from mtq.cli.main import _parser

PROTOCOL = {field.name: field.default for field in dataclasses.fields(mtq.study.Protocol)}


def of(function, name):
    return inspect.signature(function).parameters[name].default


def of_command(command, option):
    commands = next(a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    return commands[command].get_default(option)


LIBRARY = {
    "loss": of(mtq.MultiTaskDQN.compile, "loss"),
    "target_update_period": of(mtq.MultiTaskDQN.__init__, "target_update_period"),
    "double": of(mtq.MultiTaskDQN.__init__, "double"),
    "replay_capacity": of(mtq.Experience.__init__, "replay_capacity"),
    "warmup_steps": of(mtq.Experience.__init__, "warmup_steps"),
    "batch_size": of(mtq.Experience.batches, "batch_size"),
    "n_step": of(mtq.Experience.__init__, "n_step"),
    "steps_per_update": of(mtq.Experience.__init__, "steps_per_update"),
    "exploration_steps": of(mtq.exploration.linear, "steps"),
}


def test_a_studys_defaults_are_the_librarys():
    assert {name: PROTOCOL[name] for name in LIBRARY} == LIBRARY
    for name in ("loss", "target_update_period", "replay_capacity", "warmup_steps", "batch_size", "exploration_steps"):
        assert of_command("study", name) == LIBRARY[name], name


def test_the_command_lines_defaults_are_the_librarys():
    """But for the copies of environments and steps per update, and ε, which falls in a fifth of `--steps`."""
    for name in ("loss", "target_update_period", "replay_capacity", "warmup_steps", "batch_size", "double"):
        assert of_command("train", name) == LIBRARY[name], name
    assert of_command("train", "aggregator") == of(mtq.MultiTaskDQN.compile, "aggregator")
    assert of_command("train", "learning_rate") == PROTOCOL["learning_rate"] == of_command("study", "learning_rate")

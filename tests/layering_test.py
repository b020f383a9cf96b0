"""The way of the data is one direction: a module imports only what comes before it."""

import ast
import functools
import graphlib
from pathlib import Path

ROOT = Path(__file__).parent.parent / "mtq"
# From the bottom to the top; a package stands for all its modules.
LAYERS = [
    "_startup",
    "numeric",
    "keras_objects",
    "files",
    "folders",
    "trust",
    "serialized",
    "kept_per_graph",
    "worker_lost_error",
    "environment_error",
    "distribution",
    "random_numbers",
    "gymnasium_ids",
    "dynamics",
    "wrappers",
    "environment_instances",
    "flattening",
    "observation_spaces",
    "reference_return",
    "spaces",
    "task_config",
    "task_names",
    "tasks",
    "environments",
    "suites",
    "named",
    "stateful",
    "networks",
    "compilation",
    "value_learning",
    "td_losses",
    "exploration",
    "replay",
    "statistics",
    "driver",
    "shard",
    "batch_source",
    "experience_dataset",
    "experience",
    "loss_scale",
    "task_gradients",
    "auxiliary_losses",
    "aggregators",
    "weightings",
    "gradient_statistics",
    "target_views",
    "target_network",
    "q_learning",
    "update",
    "task_metrics",
    "batch_checks",
    "keras_step",
    "train_function",
    "playing",
    "evaluation",
    "step_evaluation",
    "saving",
    "callbacks",
    "export",
    "checkpoint",
    "optimizers",
    "compiled_state",
    "keras_trainer",
    "model",
    "runs",
    "study_error",
    "study",
    "play_export",
    "arguments",
    "study_command",
    "cli",
]
NEED_TF_AGENTS = {"environments", "exploration", "replay", "driver", "shard", "experience"}


@functools.cache
def modules():
    return {
        path.relative_to(ROOT).with_suffix("").as_posix(): ast.parse(path.read_text()) for path in ROOT.rglob("*.py")
    }


def imported(tree):
    """Full names of what a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
            if node.module == "mtq":
                yield from (f"mtq.{alias.name}" for alias in node.names)


def layer(name):
    return name.split("/")[0].split(".")[0]


def edges():
    for module, tree in modules().items():
        for name in imported(tree):
            if name.startswith("mtq.") and module != "__init__":
                yield module, name.removeprefix("mtq.")


def test_every_module_has_a_layer():
    assert {layer(module) for module in modules()} - {"__init__"} == set(LAYERS)


def test_imports_go_downwards_only():
    upwards = [
        f"{module} imports {name}"
        for module, name in edges()
        if layer(name) in LAYERS and LAYERS.index(layer(name)) > LAYERS.index(layer(module))
    ]
    assert not upwards


def test_packages_have_no_cycles_inside():
    graph = {}
    for module, name in edges():
        target = name.replace(".", "/")
        if layer(module) == layer(name) and target in modules():
            graph.setdefault(module, set()).add(target)

    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError
    assert set(graph) <= set(order)


def test_tf_agents_stays_in_its_place():
    direct = {
        layer(module) for module, tree in modules().items() for name in imported(tree) if name.startswith("tf_agents")
    }
    assert direct == {"environments"}
    through = {layer(module) for module, name in edges() if name == "environments.tf_agents_parts"}
    assert through <= NEED_TF_AGENTS


def test_no_file_of_ours_uses_tf_keras():
    for module, tree in modules().items():
        names = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        assert not [name for name in names if name.startswith("tf.keras")], module


def test_files_are_short():
    lengths = sorted(len(path.read_text().splitlines()) for path in ROOT.rglob("*.py"))
    assert lengths[len(lengths) // 2] < 150
    assert not list(ROOT.rglob("utils.py")) + list(ROOT.rglob("common.py"))

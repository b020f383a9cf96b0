"""The layers of mtq: a module imports only modules of its own layer or of lower ones."""

import ast
import functools
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "mtq"
# From the lowest layer to the highest, in the order of the data flow. A layer is a module or a package.
LAYERS = [
    "errors",
    "keras_internals",
    "checks",
    "named_tuples",
    "settings",
    "storage",
    "random_numbers",
    "distribution",
    "dynamics",
    "tasks",
    "interfaces",
    "environments",
    "value_learning",
    "pluggable",
    "presets",
    "heads",
    "experience",
    "networks",
    "joint",
    "task_gradients",
    "aggregators",
    "weightings",
    "trainer",
    "export",
    "learning",
    "evaluation",
    "callbacks",
    "runs",
    "study",
    "cli",
    "play_export",
]
NEED_TF_AGENTS = {"environments", "experience"}


@functools.cache
def modules():
    return {
        path.relative_to(ROOT).with_suffix("").as_posix(): ast.parse(path.read_text()) for path in ROOT.rglob("*.py")
    }


def imported(tree):
    """The full names of a module's imports, at any place in it."""
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

    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_a_cycle_would_be_found():
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()


def test_tf_agents_stays_in_its_place():
    direct = {module for module, tree in modules().items() for name in imported(tree) if name.startswith("tf_agents")}
    assert not direct  # interfaces/tf_agents_import imports it by name
    assert {layer(module) for module, name in edges() if layer(name) == "interfaces"} - {"interfaces"} == NEED_TF_AGENTS


def test_no_file_of_ours_uses_tf_keras():
    for module, tree in modules().items():
        if module == "interfaces/tf_agents_import":
            continue
        names = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        assert not [name for name in names if name.startswith("tf.keras")], module


@functools.cache
def private_names():
    """The names that `tests/keras_internals_test.py` lists, read without importing that module."""
    tree = ast.parse((Path(__file__).parent / "keras_internals_test.py").read_text())
    lists = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets) == "PRIVATE"
    ]
    return ast.literal_eval(lists[0])


def is_of_self(node):
    return isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls")


def own_names(tree):
    """The names of a module's functions, and of the attributes that its classes assign on `self` or `cls`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif is_of_self(node) and isinstance(node.ctx, ast.Store):
            yield node.attr


@functools.cache
def allowed_names():
    """The private names of mtq itself, `os._exit`, and the documented `_replace` and `_fields` of named tuples."""
    return {
        "_exit",
        "_replace",
        "_fields",
        *(name for tree in modules().values() for name in own_names(tree)),
    } - private_names()


def private_uses(tree, source):
    """The private names of other packages that a module uses, overrides or looks up as strings."""
    yield from re.findall(r"keras\.src|tensorflow\.python|__internal__", source)
    own = set(own_names(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr) and node.attr not in allowed_names():
            if not (is_of_self(node) and node.attr in own):
                yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in private_names():
            yield node.value
        elif isinstance(node, ast.ClassDef):
            yield from (part.name for part in node.body if getattr(part, "name", None) in private_names())


def test_private_names_of_others_stand_in_keras_internals():
    for module, tree in modules().items():
        found = list(private_uses(tree, (ROOT / f"{module}.py").read_text()))
        assert bool(found) == (module == "keras_internals"), (module, found)


def test_private_names_of_others_would_be_found():
    for source in (
        "from keras.src import tree",
        "layer._flatten_layers()",
        "self._metrics",
        "getattr(strategy.extended, '_id_in_cluster', 0)",
        "class Model(keras.Model):\n    def _maybe_symbolic_build(self): pass",
        "array._what_nobody_has()",
    ):
        assert list(private_uses(ast.parse(source), source)), source


def test_files_are_short():
    lengths = sorted(len(path.read_text().splitlines()) for path in ROOT.rglob("*.py"))
    assert lengths[len(lengths) // 2] < 150
    assert not list(ROOT.rglob("utils.py")) + list(ROOT.rglob("common.py"))

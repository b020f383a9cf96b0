"""The path of each task through a network of several tasks."""

from collections.abc import Iterator, Mapping, Sequence

import keras

from mtq.keras_internals import calls_of
from mtq.tasks.task import TaskSet


class TaskPaths(Mapping[str, keras.Model]):
    """The networks `observation` → `q_values` of single tasks, sharing their layers with the network they come from.

    Calling one computes only that task's encoder, the backbone and that task's head.

    Args:
        network: A functional model `{task: observation}` → `{task: q_values}`.
        tasks: The tasks.

    Raises:
        ValueError: The network's inputs or outputs are not those of the tasks.
    """

    def __init__(self, network: keras.Model, tasks: TaskSet) -> None:
        for role, tensors in (("inputs", _struct(network, "input")), ("outputs", _struct(network, "output"))):
            if not isinstance(tensors, Mapping) or set(tensors) != set(tasks):
                names = sorted(tensors) if isinstance(tensors, Mapping) else type(tensors).__name__
                raise ValueError(
                    f"The {role} of the network must be a dict with one entry for each task. Received: {names}, for "
                    f"the tasks {list(tasks)}. Build the network with mtq.networks.shared_q_network, or as "
                    "keras.Model({task: input, …}, {task: q_values, …})."
                )
        for name, task in tasks.items():
            _check_shape(name, "input", network.input[name].shape, task.spec.observation_shape)
            _check_shape(name, "output", network.output[name].shape, (task.num_actions,))
        self._paths = {name: _path(network, name) for name in tasks}

    def __getitem__(self, name: str) -> keras.Model:
        return self._paths[name]

    def tasks_of(self, variables: Sequence[keras.Variable]) -> list[tuple[int, ...]]:
        """Returns, for each variable, the indices of the tasks in whose paths it is trainable.

        Args:
            variables: The variables.
        """
        trained = [{id(variable) for variable in path.trainable_variables} for path in self._paths.values()]
        return [tuple(task for task, ids in enumerate(trained) if id(v) in ids) for v in variables]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _struct(network: keras.Model, side: str) -> object:
    try:
        return getattr(network, side)
    except (AttributeError, ValueError) as error:
        raise ValueError(
            f"The network must be a functional keras.Model, whose graph can be split by task. Received: {network!r}. "
            "Build it with mtq.networks.shared_q_network."
        ) from error


def _path(network: keras.Model, name: str) -> keras.Model:
    if _needed_inputs(network, name) != {name}:
        raise ValueError(
            f"The network's output '{name}' must follow from the observation of task '{name}' alone. Received: an "
            "output that depends on other inputs. Each task acts on its own observation; connect tasks by sharing "
            "layers, not tensors."
        )
    return keras.Model(network.input[name], network.output[name])


def _needed_inputs(network: keras.Model, name: str) -> set[str]:
    """The names of the inputs on which an output of a network depends."""
    needed = {id(network.output[name])}
    for call in reversed(calls_of(network)):
        if any(id(tensor) in needed for tensor in call.outputs):
            needed.update(id(tensor) for tensor in call.inputs)
    return {task for task, tensor in network.input.items() if id(tensor) in needed}


def _check_shape(name: str, side: str, received: tuple[int | None, ...], expected: tuple[int, ...]) -> None:
    if tuple(received[1:]) != tuple(expected):
        what = "observations" if side == "input" else "number of actions"
        raise ValueError(
            f"The network's {side} '{name}' must fit the {what} of task '{name}', {tuple(expected)} without the batch "
            f"dimension. Received: {tuple(received[1:])}. Build the network from the same TaskSet."
        )

"""Hard parameter sharing: one backbone for all tasks, an encoder and a head for each."""

from collections.abc import Mapping, Sequence

import keras

from mtq.networks.encoders import Encoder, default_encoders
from mtq.networks.heads import head_layers
from mtq.networks.initialization import creations, initialize, keep_weights, seeded_build
from mtq.networks.layer_copies import copy_of_layer
from mtq.networks.sharing_depth import split_backbone
from mtq.tasks import TaskSet


def shared_q_network(
    tasks: TaskSet,
    backbone: keras.layers.Layer,
    encoders: Mapping[str, Encoder | None] | None = None,
    heads: Sequence[int] | Mapping[str, Sequence[int]] = (),
    dueling: bool = False,
    seed: int | None = None,
    shared_layers: int | None = None,
) -> keras.Model:
    """Joins a shared backbone with an encoder and a head for each task.

    Integer observations are scaled to `[0, 1]` by their largest value on the way in.

    Args:
        tasks: The tasks.
        backbone: `[B, …]` → `[B, features]`, from `mlp`, `minatar_cnn`, `nature_cnn` or any layer or model of Keras.
        encoders: For each task a layer (or function of a Keras tensor) that brings its observation to the shape that
            the backbone takes, or None where it has it. By default there are none where the observations agree; vectors
            of different lengths get a `dense_encoder` each, images with different numbers of channels are padded.
        heads: The widths of hidden layers in each head, the same for all tasks or by task.
        dueling: Whether the heads are `DuelingHead`s.
        seed: Draws the weights from this seed alone; without one they are drawn as Keras draws them. A layer that has
            weights already, such as a trained backbone or one that was given its input shape, keeps them.
        shared_layers: How many of the backbone's layers with weights are shared, counted from its input. Each task has
            the others to itself, named `"<task>_<layer>"`. By default all are shared; with 0 there is a network for
            each task, and nothing in common. A backbone that is no `keras.Sequential` counts as one layer.

    Returns:
        A functional model `{task: observation [B, …]}` → `{task: q_values [B, num_actions]}`. The shared part is its
        layer `"backbone"`.

    Raises:
        ValueError: encoders or heads are given for other tasks than these, the encoded shapes do not agree, or there
            are no so many layers to share.

    Example:
        >>> import mtq
        >>> tasks = mtq.TaskSet([mtq.Task("cart_pole", "CartPole-v1"), mtq.Task("acrobot", "Acrobot-v1")])
        >>> network = mtq.networks.shared_q_network(tasks, backbone=mtq.networks.mlp([32]))
        >>> {task: q_values.shape for task, q_values in network.output.items()}
        {'cart_pole': (None, 2), 'acrobot': (None, 3)}
    """
    hidden = dict(heads) if isinstance(heads, Mapping) else dict.fromkeys(tasks, heads)
    _check_keys("heads", hidden, tasks)
    if encoders is None:
        encoders = default_encoders(tasks)
    _check_keys("encoders", encoders, tasks)
    if backbone.name != "backbone":
        backbone = keras.Sequential([backbone], name="backbone")

    inputs = {
        name: keras.Input(task.spec.observation_shape, dtype=task.spec.observation_dtype, name=name)
        for name, task in tasks.items()
    }
    with creations() as was_made, seeded_build([backbone, *encoders.values()], seed):
        encoded = {}
        for name, task in tasks.items():
            encoded[name] = _as_float(inputs[name], task.spec.observation_high, f"{name}_scaling")
            if encoders[name] is not None:
                encoded[name] = encoders[name](encoded[name])  # type: ignore[misc]
        _check_agreement({name: tuple(tensor.shape[1:]) for name, tensor in encoded.items()})

        shared, private = split_backbone(backbone, shared_layers)
        outputs, copies_of_built = {}, []
        for name, task in tasks.items():
            own = [copy_of_layer(layer, f"{name}_{layer.name}") for layer in private]
            copies_of_built += [copy for copy, layer in zip(own, private, strict=True) if layer.built]
            outputs[name] = encoded[name]
            for layer in [*shared, *own, *head_layers(task, hidden[name], dueling)]:
                outputs[name] = layer(outputs[name])
        network = keras.Model(inputs, outputs, name="shared_q_network")
    kept = {id(variable) for variable in network.variables if not was_made(variable)}
    kept |= {id(variable) for copy in copies_of_built for variable in copy.variables}
    keep_weights(network, kept)
    if seed is not None:
        initialize(network, seed)
    return network


def _as_float(observation: keras.KerasTensor, high: float | None, name: str) -> keras.KerasTensor:
    if high is None:
        return observation
    return keras.layers.Rescaling(1 / high, name=name)(observation)


def _check_keys(argument: str, given: Mapping[str, object], tasks: TaskSet) -> None:
    if set(given) != set(tasks):
        raise ValueError(
            f"{argument} must have an entry for each task and no others. Received: {sorted(given)}, "
            f"for the tasks {list(tasks)}."
        )


def _check_agreement(shapes: Mapping[str, tuple[int | None, ...]]) -> None:
    if len(set(shapes.values())) > 1:
        raise ValueError(
            f"The backbone must get one shape from all tasks. Received, after the encoders: {dict(shapes)}. "
            "Give encoders that bring the observations to one shape, or leave encoders out."
        )

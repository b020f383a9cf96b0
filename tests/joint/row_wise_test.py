"""Of every layer that counts as row-wise, with every axis: the output for a row is that of the row alone."""

import itertools

import keras
import numpy as np
import pytest

import mtq  # noqa: F401
from mtq.joint import row_wise
from mtq.joint.row_wise import is_row_wise

ROWS, SIZE = 4, 4
AXIS_CLASSES = ["Softmax", "LayerNormalization", "RMSNormalization", "GroupNormalization", "UnitNormalization"]
SEVERAL = {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"}
ARGUMENTS = {
    "Dense": {"units": 3},
    "Activation": {"activation": "softmax"},
    "Reshape": {"target_shape": (-1,)},
    "RepeatVector": {"n": 2},
    "Rescaling": {"scale": 0.5},
    "GaussianNoise": {"stddev": 0.1},
    "Dropout": {"rate": 0.5},
    "GaussianDropout": {"rate": 0.5},
    "GroupNormalization": {"groups": 2},
}


def rows_of(rank):
    return np.random.default_rng(0).normal(size=(ROWS, *[SIZE] * (rank - 1))).astype(np.float32)


def depends_on_other_rows(layer, inputs):
    """Whether a change of the other rows changes the output for the first."""
    call = lambda x: np.asarray(layer([x, x] if type(layer).__name__ in SEVERAL else x))  # noqa: E731
    first = call(inputs)
    others = inputs.copy()
    others[1:] = np.random.default_rng(1).normal(size=others[1:].shape) + 3
    return not np.allclose(first[0], call(others)[0], atol=1e-6)


def axes_of(rank):
    single = list(range(-rank, rank))
    return single + [list(pair) for pair in itertools.combinations(range(-rank, 0), 2)] + [list(range(-rank, 0))]


@pytest.mark.parametrize("rank", [2, 3, 4])
@pytest.mark.parametrize("name", AXIS_CLASSES)
def test_with_every_axis(name, rank):
    inputs, seen = rows_of(rank), set()
    for axis in axes_of(rank):
        try:
            layer = getattr(keras.layers, name)(axis=axis, **ARGUMENTS.get(name, {}))
            depends = depends_on_other_rows(layer, inputs)
        except Exception:
            continue
        said = is_row_wise(layer, rank)
        seen.add(said)
        assert not (said and depends), (name, axis)
        if isinstance(axis, int) and axis % rank:
            assert said, (name, axis)
    assert True in seen


@pytest.mark.parametrize("cls", sorted(row_wise._ROW_WISE, key=lambda cls: cls.__name__))
def test_every_class_of_the_list(cls):
    name = cls.__name__
    dimensions = int(name[-2]) if name[-1] == "D" and name[-2].isdigit() else None
    rank = 2 + dimensions if dimensions else {"Permute": 3, "RepeatVector": 2, "ChannelPadding": 4}.get(name, 2)
    if dimensions:
        arguments = {}
        if "Conv" in name:
            arguments = {"kernel_size": 2} if "Depthwise" in name else {"filters": 2, "kernel_size": 2}
        if name.startswith(("MaxPooling", "AveragePooling")):
            arguments = {"pool_size": 2}
        if "SpatialDropout" in name:
            arguments = {"rate": 0.5}
    elif name == "Permute":
        arguments = {"dims": (2, 1)}
    elif name == "ChannelPadding":
        arguments = {"channels": 6}
    elif name == "DuelingHead":
        arguments = {"num_actions": 3}
    else:
        arguments = ARGUMENTS.get(name, {})
    layer = cls(**arguments)
    assert is_row_wise(layer, rank)
    assert not depends_on_other_rows(layer, rows_of(rank))


def test_the_rank_comes_from_the_first_call_if_it_is_not_given():
    layer = keras.layers.LayerNormalization(axis=[-1, -4])
    assert not is_row_wise(layer)
    layer(keras.Input(batch_shape=(4, 4, 4, 4)))
    assert not is_row_wise(layer)
    softmax = keras.layers.Softmax(axis=-2)
    softmax(keras.Input((4, 4)))
    assert is_row_wise(softmax)
    assert not is_row_wise(softmax, 2)


def test_what_is_broadcast_over_the_rows():
    assert not is_row_wise(keras.layers.Dropout(0.5, noise_shape=(1, None)), 2)
    assert not is_row_wise(keras.layers.Rescaling(np.ones((ROWS, 1))), 2)
    assert is_row_wise(keras.layers.Rescaling(np.ones((1, SIZE))), 2)
    assert is_row_wise(keras.layers.Rescaling(np.ones(SIZE)), 2)

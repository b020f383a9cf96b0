"""No two kinds of object that draw numbers draw the same, with one seed at one update."""

import inspect
import itertools

import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq import pluggable as stateful
from mtq.random_numbers import stateless_uniform


def drawing_classes():
    """Every aggregator and weighting that has a seed."""
    found = {type(mtq.aggregators.get(name)) for name in mtq.aggregators.names()}
    found |= {getattr(mtq.weightings, name) for name in mtq.weightings.__all__}
    classes = [one for one in found if inspect.isclass(one) and issubclass(one, stateful.Stateful)]
    return sorted((one for one in classes if "seed" in inspect.signature(one).parameters), key=lambda c: c.__name__)


def test_all_classes_that_draw_are_pairwise_different():
    classes = drawing_classes()
    names = {cls.__name__ for cls in classes}
    assert {"RandomGradientWeighting", "RandomLossWeighting", "PCGrad", "GradVac", "GradDrop"} <= names
    draws = {
        (cls.__name__, seed): stateless_uniform([50], [cls(seed=seed).stream(seed), 0]).numpy()
        for cls in classes
        for seed in (0, 1, 65_537)
    }
    for (one, first), (another, second) in itertools.combinations(draws.items(), 2):
        assert not np.isin(first, second).sum() > 2, (one, another)


def test_places_of_one_update_are_different():
    drop = mtq.aggregators.GradDrop()
    streams = {drop.stream(seed, place) for seed in (0, 1, 65_537, 131_074) for place in range(50)}
    assert len(streams) == 200


def test_random_weights_of_gradients_and_of_losses_differ():
    losses = mtq.weightings.RandomLossWeighting()
    ours = losses.weigh(tf.ones(3), tf.constant(0, tf.int64), None).numpy() / 3
    rows = tf.eye(3)
    theirs = mtq.aggregators.RandomGradientWeighting()(
        mtq.task_gradients.TaskGradients([[r] for r in tf.unstack(rows)]), tf.ones(3)
    )
    assert np.abs(ours - theirs[0].numpy()).max() > 1e-3


@pytest.mark.parametrize(
    ("seed", "updates", "stream", "coefficients"),
    [
        (0, 0, 1995962284890914816, [0.0134669263, 0.811718941, 0.17481412]),
        (7, 3, 1995962284890914823, [0.0288487449, 0.861901939, 0.109249294]),
    ],
)
def test_a_renamed_class_draws_the_numbers_of_its_old_name(seed, updates, stream, coefficients):
    aggregator = mtq.aggregators.RandomGradientWeighting(seed=seed)
    assert aggregator.stream(seed) == stream  # as the commit before the renaming drew it
    gradients = mtq.task_gradients.TaskGradients([[row] for row in tf.unstack(tf.eye(3))])
    np.testing.assert_allclose(aggregator(gradients, tf.ones(3), updates)[0], coefficients, rtol=1e-6)


def test_subclasses_of_a_renamed_class_draw_their_own_numbers():
    class Own(mtq.aggregators.RandomGradientWeighting):
        """A user's."""

    assert Own().stream(0) != mtq.aggregators.RandomGradientWeighting().stream(0)


def test_the_old_names_of_random_gradient_weighting():
    new = mtq.aggregators.RandomGradientWeighting
    assert mtq.aggregators.RandomWeighting is new
    for name in ("random_weighting", "random_gradient_weighting"):
        assert type(mtq.aggregators.get(name)) is new
    assert "random_weighting" not in mtq.aggregators.names()
    config = mtq.aggregators.serialize(new(seed=3))
    assert config["registered_name"] == "mtq>RandomWeighting"
    for class_name in ("RandomWeighting", "RandomGradientWeighting"):
        loaded = mtq.aggregators.deserialize({**config, "class_name": class_name})
        assert type(loaded) is new
        assert loaded.get_config() == {"scope": "shared", "seed": 3}


def test_a_stream_of_a_study_keeps_classes_apart():
    one, another = mtq.aggregators.RandomGradientWeighting(), mtq.weightings.RandomLossWeighting()
    for number in (1, 2**32 - 1):
        one.use_stream(number)
        another.use_stream(number)
        assert int(one.stream(0)) != int(another.stream(0))

"""Named fields of states, and blocks of entities."""

import numpy as np
import pytest
import tensorflow as tf

from mtq.dynamics import Block, Fields

FIELDS = Fields(paddle=(), bricks=(2, 3), cars=Block(3, "x", "speed"))


def test_a_state_holds_its_fields():
    state = FIELDS.fill(2, paddle=tf.constant([4.0, 5.0]), bricks=1.0)
    assert state.shape == (2, FIELDS.size) == (2, 1 + 6 + 9)
    s = FIELDS.unpack(state)
    assert s.paddle.numpy().tolist() == [4, 5]
    assert s.bricks.numpy().tolist() == np.ones((2, 2, 3)).tolist()
    assert not s.cars.alive.numpy().any()
    s.bricks = tf.range(12.0)
    s.cars.add(s.cars.first_free(tf.constant([True, False])), x=7.0, speed=tf.constant([1.0, 2.0]))
    again = FIELDS.unpack(FIELDS.pack(s))
    assert again.bricks.numpy().ravel().tolist() == list(range(12))
    assert again.cars.alive.numpy().tolist() == [[True, False, False], [False, False, False]]
    assert (again.cars.x.numpy()[0, 0], again.cars.speed.numpy()[0, 0]) == (7, 1)
    assert FIELDS.unpack(state).paddle.numpy().tolist() == [4, 5]  # the state itself did not change


def test_entities_fill_free_slots_in_order_until_there_are_none():
    cars = FIELDS.unpack(FIELDS.fill(1)).cars
    for number in range(5):
        cars.add(cars.first_free(tf.constant([True])), x=float(number), speed=0.0)
        if number == 1:
            cars.alive &= cars.x != 0.0
    assert cars.alive.numpy().all()
    assert cars.x.numpy().tolist() == [[2.0, 1.0, 3.0]]


def test_names_that_are_wrong_are_refused():
    s = FIELDS.unpack(FIELDS.fill(1))
    with pytest.raises(ValueError, match=r"all features of the entities, \['speed', 'x'\]. Received: \['x'\]"):
        s.cars.add(s.cars.alive, x=1.0)
    s.padle = s.paddle
    with pytest.raises(ValueError, match=r"fields of a state must be .*padle"):
        FIELDS.pack(s)
    with pytest.raises(ValueError, match=r"fields \['paddle', 'bricks'\]. Received: \['cars'\]"):
        FIELDS.fill(1, cars=0.0)
    with pytest.raises(ValueError, match=r"different names other than 'alive'"):
        Block(2, "alive")

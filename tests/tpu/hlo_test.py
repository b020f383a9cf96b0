"""What cannot run on a TPU alone is refused, and by name."""

import pytest
import tensorflow as tf

from tests.tpu.cases import step
from tests.tpu.hlo import lowered


def compiled(function):
    return tf.function(function, autograph=False, jit_compile=True)


def test_a_function_of_static_shapes_is_lowered():
    assert lowered(compiled(lambda x: tf.reduce_sum(x * x)), tf.ones([4]))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: tf.boolean_mask(x, x > 0), r"All shapes must be static\. Received: .* a dynamic shape"),
        (lambda x: tf.linalg.eigh(x[:, None] * x)[0], r"back to the host\. Received: custom-call to 'Eigh'"),
        (lambda x: tf.py_function(lambda y: y, [x], tf.float32), r"Received: .*EagerPyFunc"),
    ],
)
def test_what_a_tpu_cannot_do_is_refused(function, message):
    with pytest.raises(ValueError, match=message):
        lowered(compiled(function), tf.ones([4]))


def test_a_step_that_calls_python_is_refused(make_model):
    def loss(targets, values):
        return tf.ensure_shape(tf.py_function(lambda t, v: (t - v) ** 2, [targets, values], tf.float32), values.shape)

    model = make_model(compile_options={"loss": loss, "jit_compile": False})
    with pytest.raises(ValueError, match=r"XLA must have every operation[\s\S]*EagerPyFunc"):
        lowered(*step(model))


def test_a_step_of_mtq_is_lowered(make_model):
    assert lowered(*step(make_model(compile_options={"jit_compile": False})))

"""The target network is the same layers with other values, whichever layers they are."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.tasks.spec import TaskSpec
from tests import stateful_layers
from tests.stateful_layers import RANDOM, SLOW, STATEFUL

layers = keras.layers


def tasks_of(shape, names="ab"):
    return mtq.TaskSet([mtq.Task(name, None, spec=TaskSpec(shape, "float32", None, 2)) for name in names])


def model_of(layer, shape, names="ab", **options):
    tasks, backbone = tasks_of(shape, names), keras.Sequential([layer, layers.Flatten()], name="backbone")
    return mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone), tasks, **options)


def observations(shape, names="ab"):
    return {name: np.random.default_rng(1).random((3, *shape)).astype(np.float32) for name in names}


def batch_of(shape):
    seen, numbers = observations(shape), np.ones(3, np.float32)
    return {name: mtq.Transition(x, np.zeros(3, np.int32), numbers, numbers, x) for name, x in seen.items()}


def q_values(model, shape, of_target=False):
    values = model.q_learning.outputs(observations(shape, model.tasks), of_target=of_target)
    return {name: value.numpy() for name, value in values.items()}


def assert_equal(ours, theirs):
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], rtol=1e-5, atol=1e-6)


def move(variables):
    for variable in variables:
        if "float" in variable.dtype:
            variable.assign(np.array(variable) * 1.5 + 0.125)


def test_every_layer_class_is_in_one_of_the_tables():
    classes = {
        value.__name__ for value in vars(layers).values() if inspect.isclass(value) and issubclass(value, layers.Layer)
    }
    tables = [*STATEFUL, *RANDOM, *stateful_layers.WITHOUT, *stateful_layers.APART]
    assert sorted(classes) == sorted(tables)
    for name in stateful_layers.WITHOUT:
        source = inspect.getsource(getattr(layers, name))
        assert "add_weight(" not in source, name
        assert "SeedGenerator(" not in source, name


QUICK = ({*STATEFUL} - SLOW) | {"Dropout", "CutMix", "RandomRotation"}
ALL = [
    pytest.param(make, shape, id=name, marks=() if name in QUICK else pytest.mark.slow)
    for name, (make, shape) in {**STATEFUL, **RANDOM}.items()
]


@pytest.mark.parametrize(("make", "shape"), ALL)
def test_the_target_has_values_of_its_own_and_follows(make, shape, tmp_path):
    model = model_of(make(), shape, "a", target_update_period=1)
    start = q_values(model, shape)
    assert_equal(start, q_values(model, shape, of_target=True))
    assert len(model.target_network.variables) == len(model.network.variables) > 2
    paths = [variable.path for variable in model.variables]
    assert len(set(paths)) == len(paths)

    move(model.network.trainable_variables)
    moved = q_values(model, shape)
    assert any(not np.allclose(moved[name], start[name]) for name in start)
    assert_equal(start, q_values(model, shape, of_target=True))
    assert_equal(start, model.target_network(observations(shape, "a")))
    assert_equal(start, {name: model.target_paths[name](x) for name, x in observations(shape, "a").items()})

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_equal(moved, q_values(loaded, shape))
    assert_equal(start, q_values(loaded, shape, of_target=True))

    model.update_target_network()
    assert_equal(moved, q_values(model, shape, of_target=True))


@pytest.mark.parametrize(
    "name",
    [
        "BatchNormalization",
        "Dropout",
        *(pytest.param(name, marks=pytest.mark.thorough) for name in ("Normalization", "MultiHeadAttention")),
    ],
)
def test_an_update_is_computed_from_the_targets_values(name):
    make, shape = {**STATEFUL, **RANDOM}[name]
    model = model_of(make(), shape)
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    start = q_values(model, shape)
    for _ in range(2):
        model.train_on_batch(batch_of(shape))
    assert any(not np.allclose(value, start[task]) for task, value in q_values(model, shape).items())
    assert_equal(start, q_values(model, shape, of_target=True))
    model.sync_target_network()
    assert_equal(q_values(model, shape), q_values(model, shape, of_target=True))


class Times(layers.Layer):
    """Not registered, and with nothing in its config."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return x * self.factor


@pytest.mark.parametrize("offset", [0.5])
def test_nothing_is_lost_of_what_no_config_says(offset):
    backbone = keras.Sequential([layers.Dense(4), Times(3.0), layers.Lambda(lambda x: x + offset)])
    tasks = tasks_of((4,))
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone), tasks)
    assert_equal(q_values(model, (4,)), q_values(model, (4,), of_target=True))


class Compiled(layers.Layer):
    """Hides its weights in a function that is traced once."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3), name="kernel")
        self.product = tf.function(lambda x: tf.matmul(x, self.kernel))

    def call(self, x):
        return self.product(x)


class Raw(layers.Layer):
    """Has a weight that Keras does not know."""

    def build(self, shape):
        self.gain = tf.Variable(tf.ones(shape[-1]))

    def call(self, x):
        return x * self.gain


class PastKeras(layers.Layer):
    """Reads the variable within Keras's."""

    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), name="gain")

    def call(self, x):
        return x * self.gain._value


@pytest.mark.parametrize(("layer", "names"), [(Compiled, "compiled"), (Raw, "raw"), (PastKeras, "past_keras")])
def test_a_layer_that_goes_past_keras_is_refused_by_name(layer, names):
    with pytest.raises(ValueError, match=rf"Received: layer '{names}\w*' \({layer.__name__}\)"):
        model_of(layer(), (4,))


class Tied(layers.Layer):
    """Reads the weights of another layer, which is no part of it."""

    def __init__(self, other):
        super().__init__()
        self.get = lambda: other.kernel

    def call(self, x):
        return tf.matmul(x, self.get())


class TiedByAttribute(Tied):
    def __init__(self, other):
        super().__init__(other)
        self.other = other


def built(layer, shape=(None, 4)):
    layer.build(shape)
    return layer


def of_elsewhere(kind):
    """A backbone with a layer that reads another's weights, or a variable's, that it does not have."""
    dense, gain = built(layers.Dense(4)), keras.Variable(2.0, name="gain")
    if kind == "operation":
        x = keras.Input((4,))
        return keras.Model(x, keras.ops.multiply(dense(x), gain))
    last = {
        "of another layer": lambda: Tied(dense),
        "of another layer, by its function": lambda: layers.Lambda(lambda x: tf.matmul(x, dense.kernel)),
        "of no layer": lambda: layers.Lambda(lambda x: x * gain),
        "of a layer that is in no network": lambda: layers.Activation(built(layers.Dense(4)).call),
    }[kind]()
    return keras.Sequential([dense, last])


KINDS = ["of another layer", "of another layer, by its function", "of no layer", "of a layer that is in no network"]


@pytest.mark.parametrize("kind", [*KINDS, "operation"])
def test_a_layer_that_reads_weights_of_elsewhere_is_refused_by_name(kind):
    with pytest.raises(ValueError, match=r"^Every layer .* must have the weights .* Received: layer '\w+' .* reads '"):
        model_of(of_elsewhere(kind), (4,))


def test_a_layer_may_have_the_weights_of_another():
    dense = layers.Dense(4)
    model_of(keras.Sequential([built(dense), TiedByAttribute(dense)]), (4,))


def test_a_task_that_needs_the_observation_of_another_is_refused():
    tasks, inputs, dense = tasks_of((4,)), {name: keras.Input((4,), name=name) for name in "ab"}, layers.Dense(2)
    outputs = {"a": layers.Add()([dense(inputs["a"]), dense(inputs["b"])]), "b": dense(inputs["b"])}
    with pytest.raises(ValueError, match=r"^The network's output 'a' must follow from the observation of task 'a'"):
        mtq.MultiTaskDQN(keras.Model(inputs, outputs), tasks)


class MakesItsLayerInCall(layers.Layer):
    def call(self, x):
        self.inner = layers.Dense(3)
        return self.inner(x)


def test_the_error_of_a_layer_is_told():
    with pytest.raises(ValueError, match=r"Received: .*cannot add new elements of state.* If it is the shape"):
        model_of(MakesItsLayerInCall(), (4,))


def test_a_layer_with_other_shapes_in_inference_is_refused():
    with pytest.raises(ValueError, match=r"^The network must compute .* in inference mode.* expected .*RandomCrop"):
        model_of(layers.RandomCrop(4, 4), stateful_layers.COLOURS)


def test_state_that_is_changed_by_calls_is_not_shared():
    class Counting(layers.Layer):
        def build(self, shape):
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

        def call(self, x):
            self.calls.assign_add(1.0)
            return x + self.calls

    model = model_of(Counting(), (4,))
    layer = model.network.get_layer("backbone").layers[0]
    before = float(layer.calls)
    model.target_network(observations((4,)))
    assert float(layer.calls) == before
    assert float(model.target_network.values_of([layer.calls])[0]) == 2.0  # one for each task


def test_variables_are_paired_by_what_they_are_and_not_by_their_order():
    model = model_of(keras.Sequential([layers.Dense(4), layers.BatchNormalization(), layers.Dense(3)]), (4,))
    first = model.network.get_layer("backbone").layers[0].layers[0]
    for change in (lambda: setattr(first, "trainable", False), lambda: first.enable_lora(2)):
        change()
        model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
        model.train_on_batch(batch_of((4,)))
        start = q_values(model, (4,), of_target=True)
        move(model.network.trainable_variables)
        assert_equal(start, q_values(model, (4,), of_target=True))
        model.sync_target_network()
        assert_equal(q_values(model, (4,)), q_values(model, (4,), of_target=True))


def test_frozen_or_unfrozen_after_compile():
    model = model_of(layers.Dense(3), (4,))
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    model.train_on_batch(batch_of((4,)))
    model.network.get_layer("backbone").trainable = False
    with pytest.raises(ValueError, match=r"frozen since:.*dense\w*/kernel.*Call compile again"):
        model.train_on_batch(batch_of((4,)))


def adapted(shape=(None, 4)):
    layer = built(layers.Dense(3), shape)
    layer.enable_lora(2)
    return layer


def assert_same_variables(one, other):
    for ours, theirs in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)


@pytest.mark.parametrize("file", ["model.keras", pytest.param("model.weights.h5", marks=pytest.mark.thorough)])
def test_lora_goes_on_learning_after_it_is_loaded(file, tmp_path):
    """Keras by itself sets both matrices to zero, after which they never learn."""

    def make():
        model = model_of(adapted(), (4,))
        model.compile(keras.optimizers.Adam(0.1), jit_compile=False)
        return model

    model = make()
    for _ in range(2):
        model.train_on_batch(batch_of((4,)))
    if file.endswith(".keras"):
        model.save(tmp_path / file)
        loaded = keras.models.load_model(tmp_path / file)
    else:
        model.save_weights(tmp_path / file)
        loaded = make()
        loaded.load_weights(tmp_path / file)
    for of_target in (False, True):
        assert_equal(q_values(model, (4,), of_target), q_values(loaded, (4,), of_target))
    assert_same_variables(model.network, loaded.network)
    for one in (model, loaded):
        one.train_on_batch(batch_of((4,)))
    assert_same_variables(model.network, loaded.network)


def test_lora_that_cannot_learn_is_refused(tmp_path):
    model = model_of(adapted(), (4,))
    model.network.save(tmp_path / "network.keras")
    other = mtq.MultiTaskDQN(keras.models.load_model(tmp_path / "network.keras"), model.tasks)
    other.compile("sgd", jit_compile=False)
    with pytest.raises(ValueError, match=r"^The LoRA weights of layer 'dense\w*' must not all be zero"):
        other.train_on_batch(batch_of((4,)))


@pytest.fixture
def model():
    model = model_of(layers.Dense(3), (4,))
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    return model


@pytest.fixture
def trained():
    return model_of(layers.Dense(3), (4,))


def load(model, trained, tmp_path):
    trained.network.save_weights(tmp_path / "network.weights.h5")
    model.network.load_weights(tmp_path / "network.weights.h5")


def load_all(model, trained, tmp_path):
    move(trained.network.trainable_variables)
    trained.compile(keras.optimizers.SGD(0.0))
    trained.save_weights(tmp_path / "model.weights.h5")
    model.load_weights(tmp_path / "model.weights.h5")


def in_a_callback(model, trained, tmp_path):
    model.network.set_weights(trained.network.get_weights())


@pytest.mark.parametrize("put", [load, load_all, in_a_callback])
def test_in_step_before_the_first_update_whatever_put_the_weights_there(model, trained, put, tmp_path):
    data = tf.data.Dataset.from_tensors(batch_of((4,))).repeat()
    if put is in_a_callback:
        callback = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: put(model, trained, tmp_path))
        model.fit(data, steps_per_epoch=1, verbose=0, callbacks=[callback])
    else:
        put(model, trained, tmp_path)
        model.fit(data, steps_per_epoch=1, verbose=0)
    for ours, theirs in zip(model.target_network.get_weights(), trained.network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_values_given_to_the_target_by_hand_stay(model, trained):
    given = [weight + 1 for weight in model.network.get_weights()]
    model.target_network.set_weights(given)
    model.train_on_batch(batch_of((4,)))
    np.testing.assert_array_equal(model.target_network.get_weights()[0], given[0])


def test_a_copy_by_hand_is_no_reason_to_fall_out_of_step_later(model, trained):
    model.target_network.set_weights(model.network.get_weights())
    model.network.set_weights(trained.network.get_weights())
    model.train_on_batch(batch_of((4,)))
    np.testing.assert_array_equal(model.target_network.get_weights()[0], trained.network.get_weights()[0])


def test_a_loaded_model_goes_on_with_the_target_it_had(model, tmp_path):
    model.train_on_batch(batch_of((4,)))
    move(model.network.trainable_variables)
    kept = model.target_network.get_weights()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.train_on_batch(batch_of((4,)))
    for ours, theirs in zip(loaded.target_network.get_weights(), kept, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_h5_files(model, trained, tmp_path):
    move(model.network.trainable_variables)
    model.save(tmp_path / "model.h5")
    trained.load_weights(tmp_path / "model.h5")
    for of_target in (False, True):
        assert_equal(q_values(model, (4,), of_target), q_values(trained, (4,), of_target))


def test_checkpoints_of_tensorflow(model, tmp_path):
    move(model.network.variables)
    start = q_values(model, (4,), of_target=True)
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    model.sync_target_network()
    tf.train.Checkpoint(model=model).read(path)
    assert_equal(start, q_values(model, (4,), of_target=True))


def test_names_of_its_own(model, tmp_path, capsys):
    assert [layer.name for layer in model.layers] == ["shared_q_network", "target_network"]
    assert model.get_layer("backbone") is model.network.get_layer("backbone")
    assert "target_network/a_q_values/kernel" in [value.path for value in model.target_network.variables]
    model.summary()
    assert "target_network" in capsys.readouterr().out
    model.target_network.summary()
    move(model.network.trainable_variables)
    model.save_weights(tmp_path / "model.weights.h5")
    start, moved = q_values(model, (4,), of_target=True), q_values(model, (4,))
    model.sync_target_network()
    model.load_weights(tmp_path / "model.weights.h5")
    assert_equal(start, q_values(model, (4,), of_target=True))
    model.target_network.save(tmp_path / "network.keras")
    assert_equal(start, keras.models.load_model(tmp_path / "network.keras")(observations((4,))))
    assert_equal(moved, q_values(model, (4,)))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_the_observations_as_they_are(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = model_of(layers.Dense(3), (4,))
    finally:
        keras.config.set_dtype_policy("float32")
    for name, values in model.target_network(observations((4,))).items():
        np.testing.assert_array_equal(values, model.network(observations((4,)))[name])
    assert {value.dtype for value in model.target_network.variables} == {"float32"}

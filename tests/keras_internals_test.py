"""Every private name in `mtq/keras_internals.py` behaves as mtq relies on, and public substitutes cover all they must.

A test that fails here names what has changed in Keras, TensorFlow or Gymnasium. Whatever is then wrong in mtq is wrong
silently: gradients that are summed twice, processes that all take themselves for the chief.
"""

import contextlib
import inspect
import itertools
import re
import sys
import threading
from unittest import mock

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from mtq import keras_internals
from mtq.distribution.optimizer import apply_reduced
from mtq.distribution.replicas import on_means, worker_index
from mtq.joint.row_wise import has_known_activation, is_convolution
from mtq.learning.losses import ValueLoss
from mtq.learning.target_paths import TargetView
from mtq.networks.initialization import initialize
from mtq.study.design.serialization import loss_config

L = keras.layers
# The names that no module but `keras_internals` may use (`tests/layering_test.py`). Those that it does not use either
# have been replaced by public names.
PRIVATE = {
    "_all_reduce_sum_gradients",
    "_analyze_einsum_string",
    "_batches_seen_since_last_saving",
    "_distribution_strategy",
    "_finalize_progbar",
    "_flatten_layers",
    "_fn_kwargs",
    "_id_in_cluster",
    "_inbound_nodes",
    "_init_seed",
    "_keras_history",
    "_layers",
    "_load_state",
    "_max_episode_steps",
    "_maybe_init_progbar",
    "_maybe_symbolic_build",
    "_metrics",
    "_nodes_by_depth",
    "_non_trainable_variables",
    "_obj_type",
    "_tf_uses_legacy_keras",
    "_tracker",
    "_trainable_variables",
    "_trainable_variables_indices",
    "_update_kernel_initializer",
    "_update_progbar",
    "_var_key",
}


def two_branches():
    inputs = keras.Input((4,), name="inputs")
    hidden = L.Dense(3, name="hidden")(inputs)
    outputs = L.Add(name="add")([hidden, L.Dense(3, name="other")(inputs)])
    return keras.Model(inputs, L.Dense(2, name="outputs")(outputs))


class OwnCall(keras.Model):
    """A functional model that computes something else than its graph."""

    def call(self, inputs):
        return 2 * super().call(inputs)


# The graph of a functional model: `_nodes_by_depth`, its nodes, `_inbound_nodes`, `Functional`


def test_the_calls_of_a_model_compute_what_it_does():
    model = two_branches()
    calls = keras_internals.calls_of(model)
    assert sorted(call.layer.name for call in calls) == ["add", "hidden", "other", "outputs"]
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    values = {id(model.inputs[0]): tf.constant(x)}
    for call in calls:
        assert all(id(tensor) in values for tensor in call.inputs), f"{call.layer.name} comes before what it needs"
        args, kwargs = call.with_inputs([values[id(tensor)] for tensor in call.inputs])
        values[id(call.outputs[0])] = call.layer(*args, **kwargs)
    np.testing.assert_allclose(values[id(model.outputs[0])], model(x), rtol=1e-6)


def test_output_shapes_of_all_calls():
    layer = L.Conv2D(2, 3)
    assert keras_internals.output_shapes(layer) == []
    layer(keras.Input((5, 5, 1)))
    layer(keras.Input((9, 7, 1)))
    assert keras_internals.output_shapes(layer) == [(None, 3, 3, 2), (None, 7, 5, 2)]
    inner = L.Dense(2)
    L.TimeDistributed(inner)(keras.Input((3, 4)))
    assert keras_internals.output_shapes(inner) == []


def test_which_models_are_functional():
    plain, sequential = two_branches(), keras.Sequential([keras.Input((4,)), L.Dense(2)])
    own = OwnCall(plain.inputs, plain.outputs)
    models = {"plain": plain, "own": own, "sequential": sequential, "layer": L.Dense(2)}
    assert {name for name, model in models.items() if keras_internals.is_functional(model)} == {"plain", "own"}
    assert {name for name, model in models.items() if keras_internals.is_plain_functional(model)} == {"plain"}


# What a layer holds: `_flatten_layers`, `_trainable_variables`, `_non_trainable_variables`, `_metrics`, `_tracker`


def test_layers_at_any_depth_from_the_outside_inwards():
    inner = keras.Sequential([L.Dense(2, name="deep")], name="inner")
    wrapper = L.TimeDistributed(inner, name="wrapper")
    model = keras.Sequential([keras.Input((3, 4)), wrapper, L.Flatten(name="flat")], name="outer")
    names = [layer.name for layer in keras_internals.flatten_layers(model)]
    assert names[0] == "outer"
    assert set(names) >= {"outer", "wrapper", "inner", "deep", "flat"}
    assert names.index("wrapper") < names.index("inner") < names.index("deep")
    assert keras_internals.flatten_layers(model, include_self=False) == keras_internals.flatten_layers(model)[1:]
    assert keras_internals.direct_layers(wrapper) == [inner]
    assert keras_internals.direct_layers(L.Dense(2)) == []


def test_xla_compiles_a_layer_only_with_all_that_is_inside():
    good, bad = L.Dense(2), L.Dense(2)
    bad.supports_jit = False
    assert keras_internals.supports_jit(keras.Sequential([keras.Sequential([good])]))
    model = keras.Sequential([keras.Sequential([bad])])
    assert not keras_internals.supports_jit(model)
    assert not TargetView(None, model).supports_jit
    assert TargetView(None, good).supports_jit


def test_variables_that_a_layer_made_itself():
    layer = L.BatchNormalization()
    model = keras.Sequential([keras.Input((2,)), L.Dense(2), layer])
    assert [v.name for v in keras_internals.own_trainable_variables(layer)] == ["gamma", "beta"]
    assert [v.name for v in keras_internals.own_variables(layer)] == [
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
    ]
    assert keras_internals.own_variables(model) == []
    layer.trainable = False
    assert [v.name for v in keras_internals.own_trainable_variables(layer)] == ["gamma", "beta"]


def test_metrics_that_are_attributes_of_a_model():
    model = two_branches()
    model.mine = keras.metrics.Mean(name="mine")
    model.compile("sgd", "mse")
    assert keras_internals.own_metrics(model) == [model.mine]


def test_a_locked_layer_can_be_given_variables():
    layer = L.Dense(2)
    layer.build((None, 3))
    with pytest.raises(ValueError, match="cannot add new elements"):
        layer.further = keras.Variable(0.0)
    keras_internals.unlock(layer)
    layer.further = keras.Variable(0.0)
    assert any(variable is layer.further for variable in layer.variables)


# Training: `_maybe_symbolic_build`, `_batches_seen_since_last_saving`


@pytest.mark.parametrize(("base", "is_lost"), [(keras.Model, True), (keras_internals.BuiltModel, False)])
def test_the_first_batch_is_not_lost_within_a_strategy(base, is_lost):
    """If Keras's own model no longer loses it, `BuiltModel` is not needed any more."""

    class Model(base):
        def __init__(self):
            super().__init__()
            self.built = True

        def train_step(self, data):
            return {"mean": tf.reduce_mean(data)}

    with tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]).scope():
        model = Model()
        model.compile("sgd")
    count = itertools.count()
    batches = tf.data.Dataset.from_generator(
        lambda: (np.full(2, next(count)) for _ in range(10)), output_signature=tf.TensorSpec([2])
    )
    history = model.fit(batches, steps_per_epoch=1, shuffle=False, verbose=0).history
    assert (history["mean"][0] > 0) == is_lost


def test_batches_that_a_checkpoint_has_counted(tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(str(tmp_path / "model.keras"), save_freq=4)
    model = two_branches()
    model.compile("sgd", "mse")
    assert keras_internals.batches_since_saving(checkpoint) == 0
    counted = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: counted.append(keras_internals.batches_since_saving(checkpoint))
    )
    model.fit(np.ones((6, 4)), np.ones((6, 2)), batch_size=1, verbose=0, callbacks=[checkpoint, note])
    assert counted == [1, 2, 3, 0, 1, 2]


# Files: `KerasSaveable`, `_obj_type`, `_load_state`, `h5_file`, `SafeModeScope`


class Counter(keras_internals.Saveable):
    """Something with a variable."""

    def __init__(self):
        self.count = keras.Variable(0.0, name="count")

    def save_own_variables(self, store):
        store["count"] = self.count.numpy()

    def load_own_variables(self, store):
        self.count.assign(store["count"])


@keras.saving.register_keras_serializable("keras_internals_test")
class WithCounter(keras.Model):
    """A model that has one."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.counter, self.dense = Counter(), L.Dense(1)
        self.dense.build((None, 1))
        self.built = True

    def call(self, inputs):
        return self.dense(inputs)


def test_variables_of_a_saveable_go_with_the_model(tmp_path):
    model = WithCounter()
    model.counter.count.assign(7.0)
    model.save(tmp_path / "model.keras")
    assert float(keras.models.load_model(tmp_path / "model.keras").counter.count.numpy()) == 7.0
    model.save_weights(tmp_path / "model.weights.h5")
    other = WithCounter()
    other.load_weights(tmp_path / "model.weights.h5")
    assert float(other.counter.count.numpy()) == 7.0


class Reads(keras.Model):
    """A model that loads a layer from the place of its second one in the file."""

    def __init__(self):
        super().__init__()
        self.network, self.target, self.built = two_branches(), two_branches(), True

    def load_own_variables(self, store):
        paths = ("layers/functional", "layers/functional_1", "layers/functional_2")
        reader = two_branches()
        keras_internals.load_state(reader, store, paths[1])
        self.read = [keras_internals.has_path(store, path) for path in paths], reader.get_weights()
        with pytest.raises(ValueError, match="expected 2 variables, but received 0"):
            keras_internals.load_state(reader, store, paths[2])


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # which Keras adds to the error
def test_a_layer_is_loaded_from_some_place_in_a_file(tmp_path):
    model, other = Reads(), Reads()
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    found, weights = other.read
    assert found == [True, True, False]
    for value, expected in zip(weights, model.target.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected)
    assert not keras_internals.has_path({}, "layers/functional")


def test_python_code_in_a_config_is_read_only_within_the_context():
    layer = L.Lambda(lambda x: x + 1)
    for _ in range(2):
        with pytest.raises(ValueError, match="lambda"):
            keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        with keras_internals.unsafe_deserialization():
            copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert copy(tf.constant(1.0)) == 2.0


# Random numbers: `_init_seed`, the global seed generator


def test_initializers_that_were_given_no_seed():
    kinds = [value for value in vars(keras.initializers).values() if isinstance(value, type)]
    random = [kind for kind in kinds if "seed" in inspect.signature(kind).parameters]
    assert len(random) >= 11
    for kind in random:
        assert keras_internals.has_default_seed(kind()), kind
        assert not keras_internals.has_default_seed(kind(seed=0)), kind
    for other in (keras.initializers.Zeros(), keras.initializers.Constant(1), L.Dense(1), "glorot_uniform", None):
        assert not keras_internals.has_default_seed(other), other


def test_initializers_of_two_seeds_differ_in_seeds_alone():
    one, other = (vars(keras.initializers.HeNormal(seed=seed)) for seed in (1, 2))
    assert {name for name in one if one[name] != other[name]} == set(keras_internals.SEED_ATTRIBUTES)


def test_an_initializer_draws_by_the_seed_that_it_is_given_later():
    initializer = keras.initializers.HeNormal()
    initializer.seed = 3
    np.testing.assert_array_equal(initializer((4, 4)), keras.initializers.HeNormal(seed=3)((4, 4)))


def test_the_global_seed_holds_within_its_context():
    def draw():
        return keras.random.uniform((3,)).numpy().tolist()

    with keras_internals.global_seed(7):
        undisturbed = [draw() for _ in range(3)]
    with keras_internals.global_seed(7):
        before, within = draw(), []
        for _ in range(2):
            with keras_internals.global_seed(5):
                within.append(draw())
        assert [before, draw(), draw()] == undisturbed
    assert within[0] == within[1] != undisturbed[1]
    outside = [draw() for _ in range(2)]
    assert outside[0] != outside[1]
    assert not {tuple(drawn) for drawn in outside} & {tuple(drawn) for drawn in undisturbed}


@pytest.mark.parametrize(
    ("equation", "output_shape"),
    [("abc,cd->abd", (5, 8)), ("abc,cde->abde", (5, 8, 16)), ("abcd,cde->abe", (5, 16)), ("...x,xy->...y", (16,))],
)
def test_einsum_dense_is_drawn_as_keras_draws_it(equation, output_shape):
    shape = {"abcd,cde->abe": (5, 6, 7)}.get(equation, (5, 6))
    layer = L.EinsumDense(equation, output_shape, kernel_initializer=keras.initializers.HeNormal(seed=1))
    network = keras.Sequential([keras.Input(shape), layer])
    built = layer.kernel.numpy()
    with mock.patch("mtq.networks.initialization._with_seed", lambda initializer, seed: initializer):
        layer.kernel.assign(tf.zeros_like(layer.kernel))
        initialize(network, 0)
    np.testing.assert_allclose(layer.kernel.numpy(), built, rtol=1e-6)


# Optimizers and replicas: `_distribution_strategy`, `_var_key`, `_trainable_variables_indices`, `maybe_merge_call`,
# `_all_reduce_sum_gradients`


def test_the_strategy_of_an_optimizer():
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    for make in (keras.optimizers.Adam, lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())):
        with strategy.scope():
            optimizer = make()
        assert keras_internals.strategy_of(optimizer, None) is strategy
        assert keras_internals.strategy_of(make(), None) is not strategy
    assert keras_internals.strategy_of(object(), strategy) is strategy


def test_the_variables_that_an_optimizer_was_built_for():
    variables = [keras.Variable(tf.zeros([2])) for _ in range(3)]
    optimizer = keras.optimizers.Adam()
    optimizer.build(variables[:2])
    own, known = keras_internals.optimizer_keys(optimizer, variables[:2])
    assert own == known
    assert len(own) == 2
    own, known = keras_internals.optimizer_keys(optimizer, variables)
    assert own > known


def applied(optimizer, gradient, num_replicas=2, outside=True):
    """The values of a variable, which was 0, on each replica, after all have applied the same gradient."""
    strategy = tf.distribute.MirroredStrategy([f"/cpu:{number}" for number in range(num_replicas)])
    with strategy.scope():
        variable = keras.Variable(tf.zeros([]))
        optimizer = optimizer()
        optimizer.build([variable])

    def step():
        if outside:
            on_means(lambda mean: apply_reduced(optimizer, [mean], [variable]) or tf.constant(0), tf.constant(gradient))
        else:
            apply_reduced(optimizer, [tf.constant(gradient)], [variable])

    tf.function(lambda: strategy.run(step), autograph=False)()
    return [float(value) for value in strategy.experimental_local_results(variable.value)]


OPTIMIZERS = {
    "plain": lambda: keras.optimizers.SGD(1.0),
    "decay": lambda: keras.optimizers.SGD(1.0, weight_decay=0.1),
    "accumulating": lambda: keras.optimizers.SGD(1.0, gradient_accumulation_steps=2),
    "average": lambda: keras.optimizers.SGD(1.0, use_ema=True, ema_overwrite_frequency=5),
}


# Keras cannot change variables conditionally within replicas, as the last two do.
@pytest.mark.parametrize(
    ("name", "outside"), [*((name, True) for name in OPTIMIZERS), ("plain", False), ("decay", False)]
)
def test_a_gradient_is_applied_once_and_not_once_per_replica(name, outside):
    expected = 0.0 if name == "accumulating" else -3.0  # the first of two gradients is only accumulated
    assert applied(OPTIMIZERS[name], 3.0, outside=outside) == [expected] * 2
    assert "maybe_merge_call" in vars(tf.__internal__.distribute.interim)
    assert not isinstance(tf.__internal__.distribute.interim.maybe_merge_call, keras_internals._Switch)


def test_without_the_replacements_keras_sums_or_fails(monkeypatch):
    """If this fails, Keras has changed what `apply_reduced` works around."""
    monkeypatch.setattr(keras_internals, "_replaced", lambda *args: contextlib.nullcontext())
    assert applied(OPTIMIZERS["plain"], 3.0, outside=False) == [-6.0] * 2
    with pytest.raises((AttributeError, RuntimeError, ValueError)):
        applied(OPTIMIZERS["plain"], 3.0, outside=True)


@pytest.mark.parametrize(
    ("apply", "owner", "name"),
    [
        (keras_internals.apply_outside_of_replicas, tf.__internal__.distribute.interim, "maybe_merge_call"),
        (keras_internals.apply_without_sum, keras.optimizers.SGD, "_all_reduce_sum_gradients"),
    ],
    ids=["maybe_merge_call", "_all_reduce_sum_gradients"],
)
def test_a_name_that_is_gone_or_not_called_is_told(apply, owner, name, monkeypatch):
    optimizer, variable = keras.optimizers.SGD(1.0), keras.Variable(0.0)
    message = rf"update variables by {name}. Received: Keras {keras.__version__} .*in which it"
    with monkeypatch.context() as patched:
        patched.setattr(keras.optimizers.SGD, "_backend_update_step", lambda *args: None)
        with pytest.raises(RuntimeError, match=f"{message} is not called"):
            apply(optimizer, [tf.constant(1.0)], [variable])
    monkeypatch.setattr(owner, name, None)
    with pytest.raises(RuntimeError, match=f"{message} does not exist"):
        apply(optimizer, [tf.constant(1.0)], [variable])


def test_an_optimizer_with_an_apply_of_its_own_need_not_call_them():
    class Own(keras.optimizers.SGD):
        def apply(self, grads, trainable_variables=None):
            for gradient, variable in zip(grads, trainable_variables, strict=True):
                variable.assign(variable - gradient)

    variable = keras.Variable(0.0)
    keras_internals.apply_outside_of_replicas(Own(), [tf.constant(3.0)], [variable])
    keras_internals.apply_without_sum(Own(), [tf.constant(3.0)], [variable])
    assert float(variable.numpy()) == -6.0


@pytest.mark.parametrize("inherited", [True, False])
def test_other_threads_keep_the_original(inherited):
    class Owner:
        def name(self):
            return "original"

    owner = Owner()
    if not inherited:
        owner.name = lambda: "original"
    inside, leave, found = threading.Barrier(3), threading.Barrier(3), {}

    def replace(number):
        with keras_internals._replaced(owner, "name", lambda: number, is_called=True):
            inside.wait(10)
            found[number] = owner.name()
            leave.wait(10)
            if number:  # the other one is done by then
                threads[0].join(10)
                found["late"] = owner.name()

    threads = [threading.Thread(target=replace, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    found["other"] = owner.name()
    leave.wait(10)
    for thread in threads:
        thread.join(10)
    assert found == {0: 0, 1: 1, "other": "original", "late": 1}
    assert owner.name() == "original"
    assert ("name" in vars(owner)) != inherited


# Several processes: the public resolver in the place of `_id_in_cluster`; the coordination service; operation callbacks


def of_cluster(cluster, kind, index, devices=1):
    """A strategy of several processes as seen from one of them."""
    strategy = mock.create_autospec(tf.distribute.MultiWorkerMirroredStrategy, instance=True)
    strategy.cluster_resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster), task_type=kind, task_id=index
    )
    strategy.extended.worker_devices = tuple(f"/cpu:{number}" for number in range(devices))
    strategy.num_replicas_in_sync = max(1, sum(map(len, cluster.values()))) * devices
    return strategy


def test_which_process_this_is():
    workers = {"worker": ["a:1", "b:1", "c:1"]}
    assert [worker_index(of_cluster(workers, "worker", index, devices=2)) for index in range(3)] == [0, 1, 2]
    with_chief = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    assert worker_index(of_cluster(with_chief, "chief", 0)) == 0
    assert [worker_index(of_cluster(with_chief, "worker", index)) for index in range(2)] == [1, 2]
    assert worker_index(tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])) == 0
    assert worker_index(tf.distribute.get_strategy()) == 0


def test_a_cluster_that_is_not_the_strategys_is_told():
    strategy = of_cluster({"worker": ["a:1", "b:1"]}, "worker", 1)
    strategy.cluster_resolver = of_cluster({}, None, None).cluster_resolver
    with pytest.raises(RuntimeError, match="TF_CONFIG must stay as it was when the strategy was made"):
        worker_index(strategy)


def test_tensorflow_counts_the_processes_alike():
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    assert worker_index(strategy) == strategy.extended._id_in_cluster == 0
    from tensorflow.python.distribute import multi_worker_util

    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    for kind, index in (("chief", 0), ("worker", 0), ("worker", 1)):
        expected = multi_worker_util.id_in_cluster(cluster, kind, index)
        assert worker_index(of_cluster(cluster, kind, index)) == expected


def test_how_long_processes_wait(monkeypatch):
    of_test = context.Context()
    monkeypatch.setattr(context, "context", lambda: of_test)
    keras_internals.configure_coordination(
        {"chief": 1, "worker": 2}, register_seconds=10, heartbeat_seconds=20, shutdown_seconds=30
    )
    config = of_test.config.experimental.coordination_config
    assert config.service_type == "standalone"
    assert config.service_leader == "/job:chief/replica:0/task:0"
    assert config.cluster_register_timeout_in_ms == 10_000
    assert config.heartbeat_timeout_in_ms == 20_000
    assert config.shutdown_barrier_timeout_in_ms == 30_000
    assert config.cluster_register_with_barrier
    assert [(job.name, job.num_tasks) for job in config.coordinated_job_list] == [("chief", 1), ("worker", 2)]


def test_operations_are_watched_while_a_callback_sees_them():
    assert not keras_internals.operations_are_watched()
    tf.debugging.enable_check_numerics()
    try:
        assert keras_internals.operations_are_watched()
    finally:
        tf.debugging.disable_check_numerics()
    assert not keras_internals.operations_are_watched()


# TensorFlow's datasets and modules; Gymnasium


def test_tensorflow_says_which_keras_it_has():
    assert vars(tf)[keras_internals.USES_LEGACY_KERAS] is False


def test_modules_of_keras_2():
    pytest.importorskip("tf_keras")
    import tf_keras

    for thing in (tf_keras.layers.Dense, tf_keras.optimizers.Adam, tf_keras.initializers.Zeros):
        assert any(thing.__module__.startswith(f"{name}.") for name in keras_internals.TF_KERAS_MODULES), thing
    for thing in (keras.layers.Dense, tf.keras.layers.Dense):
        assert not any(thing.__module__.startswith(name) for name in keras_internals.TF_KERAS_MODULES), thing


def test_the_time_limit_is_the_one_that_ends_episodes():
    environment = gymnasium.make("CartPole-v1", max_episode_steps=3)
    limit = environment
    while not isinstance(limit, gymnasium.wrappers.TimeLimit):
        limit = limit.env
    assert keras_internals.time_limit(limit) == environment.spec.max_episode_steps == 3
    limit._max_episode_steps = 2
    environment.reset(seed=0)
    assert [environment.step(number % 2)[3] for number in range(2)] == [False, True]
    assert keras_internals.time_limit(limit) == 2


# Public names in the place of private ones


def test_all_convolutions_are_known():
    assert {name for name in dir(L) if is_kind_of_convolution(name) and not is_convolution(made(name))} == set()
    assert {name for name in dir(L) if not is_kind_of_convolution(name) and is_convolution_class(name)} == set()


def is_kind_of_convolution(name):
    bases = ("BaseConv", "BaseConvTranspose", "BaseDepthwiseConv", "BaseSeparableConv")
    kind = getattr(L, name)
    return isinstance(kind, type) and any(base.__name__ in bases for base in kind.__mro__)


def is_convolution_class(name):
    kind = getattr(L, name)
    return isinstance(kind, type) and issubclass(kind, (L.Conv1D, L.Conv2D, L.Conv3D, L.SeparableConv1D))


def made(name):
    return getattr(L, name)(**({"kernel_size": 3} if "Depthwise" in name else {"filters": 1, "kernel_size": 3}))


def test_all_activations_of_keras_are_known():
    own = [name for name in dir(keras.activations) if not name.startswith("_")]
    names = sorted(set(own) - {"get", "serialize", "deserialize"})
    assert len(names) >= 30
    for name in names:
        assert has_known_activation(L.Dense(1, activation=name)), name
        assert has_known_activation(L.Activation(getattr(keras.activations, name))), name
    assert has_known_activation(L.Dense(1))
    for other in (lambda x: x, tf.nn.relu, L.BatchNormalization(), tf.reverse, keras.activations.get):
        assert not has_known_activation(mock.Mock(activation=other)), other


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("delta", [0.1, 1 / 3, 1, 10.0, np.float32(2), 1e-6, 1e30])
def test_the_delta_of_a_huber_loss(delta, dtype):
    config = ValueLoss(keras.losses.Huber(delta, dtype=dtype)).serialize()
    assert config["config"]["delta"] == delta
    assert type(config["config"]["delta"]) is float


def test_losses_whose_config_lacks_an_argument_are_refused():
    assert loss_config(keras.losses.Huber(0.3))["config"]["delta"] == 0.3
    assert loss_config(keras.losses.LogCosh(reduction="sum"))["config"]["reduction"] == "sum"
    for loss in (
        keras.losses.CosineSimilarity(axis=0),
        keras.losses.Huber(dtype="float64"),
    ):
        with pytest.raises(ValueError, match="config holds all arguments"):
            loss_config(loss)


# The rest of the house


def of_mtq(base):
    """All classes of mtq below one of Keras, as far as they are imported."""
    below = [kind for child in base.__subclasses__() for kind in (child, *of_mtq(child))]
    return [kind for kind in below if kind.__module__.startswith("mtq.") and kind.__module__ in sys.modules]


@pytest.mark.parametrize(
    "theirs",
    [
        keras.Model(),
        L.Layer(),
        keras.callbacks.Callback(),
        keras.callbacks.ProgbarLogger(),
        keras.metrics.Metric(),
        keras.Variable(0.0),
    ],
    ids=lambda theirs: type(theirs).__name__,
)
def test_no_class_of_mtq_has_a_private_name_of_keras_by_chance(theirs):
    kinds = set(of_mtq(type(theirs))) - {keras_internals.BuiltModel}
    assert kinds
    known = {*vars(theirs), *(name for base in type(theirs).__mro__ for name in vars(base))}
    for kind in kinds:
        names = {*vars(kind), *re.findall(r"self\.(\w+)", inspect.getsource(kind))}
        assert not {name for name in names & known if re.match("_[a-z]", name)}, kind

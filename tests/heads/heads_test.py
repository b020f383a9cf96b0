"""Tests of the heads: targets, losses, values, and what fits together."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.heads import Categorical, HLGauss, Quantile, Scalar
from mtq.learning.losses import ValueLoss
from tests.batches import random_batch
from tests.messages import error
from tests.network_cases import task_set

R, D = tf.constant([1.0, -0.5]), tf.constant([0.5, 0.0])


def outputs_of(head, rows=2, actions=3, seed=0):
    shape = [rows, actions] if head.num_outputs is None else [rows, actions, head.num_outputs]
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


HEADS = {
    "scalar": Scalar(),
    "categorical": Categorical(-8, 8, 33),
    "hl_gauss": HLGauss(-8, 8, 64),
    "quantile": Quantile(7),
}
every_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)


@every_head
def test_targets_are_those_of_q_learning(head):
    outputs = outputs_of(head)
    q = head.values(outputs)
    target = head.greedy_backup(R, D, outputs, None, None)
    np.testing.assert_allclose(target.value, vl_targets(q), rtol=1e-5, atol=1e-5)
    selector = outputs_of(Scalar(), seed=1)
    target = head.greedy_backup(R, D, outputs, selector, None)
    np.testing.assert_allclose(
        target.value, mtq.value_learning.double_q_targets(R, D, q, selector), rtol=1e-5, atol=1e-5
    )


def vl_targets(q):
    return mtq.value_learning.q_targets(R, D, q)


@every_head
def test_a_soft_backup_of_a_greedy_policy_is_the_greedy_backup(head):
    outputs = outputs_of(head)
    policy = tf.one_hot(tf.argmax(head.values(outputs), axis=-1), 3)
    soft = head.soft_backup(R, D, outputs, policy, tf.zeros_like(policy))
    greedy = head.greedy_backup(R, D, outputs, None, None)
    for one, other in zip(soft, greedy, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@every_head
def test_the_value_of_a_soft_backup_is_an_expectation(head):
    outputs = outputs_of(head)
    policy, bonus = tf.constant([[0.2, 0.3, 0.5]] * 2), tf.constant([[0.1, 0.0, 0.4]] * 2)
    expected = R + D * tf.reduce_sum(policy * (head.values(outputs) + bonus), axis=-1)
    target = head.soft_backup(R, D, outputs, policy, bonus)
    np.testing.assert_allclose(target.value, expected, rtol=1e-5, atol=1e-5)
    if isinstance(head, Categorical):  # the projection keeps the mean
        np.testing.assert_allclose(target.encoded.numpy() @ np.linspace(-8, 8, 33), expected, rtol=1e-4, atol=1e-4)


@every_head
def test_descent_on_the_loss_reaches_the_target(head):
    target = head.greedy_backup(R, D, outputs_of(head), None, None)
    outputs = tf.Variable(outputs_of(head, seed=3)[:, 0])
    optimizer = keras.optimizers.Adam(0.1)
    step = tf.function(lambda: minimize(head, target, outputs, optimizer), jit_compile=True)
    for _ in range(400):
        step()
    np.testing.assert_allclose(head.values(outputs), target.value, atol=0.05)


def minimize(head, target, outputs, optimizer):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(head.losses(target, outputs))
    optimizer.apply(tape.gradient(loss, [outputs]), [outputs])


def test_hl_gauss_targets_have_the_width_that_was_asked_for():
    head = HLGauss(-10, 10, 51, sigma=0.75)
    p = head.backup(tf.constant([1.3]), tf.constant([0.0]), tf.zeros([1, 51])).encoded[0].numpy()
    centers = np.linspace(-10, 10, 52)[:-1] + 10 / 51
    mean = p @ centers
    assert mean == pytest.approx(1.3, abs=1e-3)
    width = 20 / 51  # a histogram adds the variance of a bin
    assert p @ (centers - mean) ** 2 == pytest.approx((0.75 * width) ** 2 + width**2 / 12, rel=0.02)


@every_head
def test_configs_round_trip(head):
    copy = mtq.heads.get(keras.saving.serialize_keras_object(head))
    assert type(copy) is type(head)
    assert {**copy.get_config(), "name": None} == {**head.get_config(), "name": None}


@pytest.mark.parametrize("name", mtq.heads.names())
@pytest.mark.parametrize("dueling", [False, True])
def test_the_networks_outputs_are_action_values(name, dueling):
    tasks = task_set([(3,), (3,)], [2, 4])
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), heads=name, dueling=dueling, seed=0)
    values = network({task: tf.ones([5, 3]) for task in tasks})
    assert {task: value.shape for task, value in values.items()} == {"task_0": (5, 2), "task_1": (5, 4)}
    again = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), heads=name, dueling=dueling, seed=0)
    for task, value in again({task: tf.ones([5, 3]) for task in tasks}).items():
        np.testing.assert_array_equal(value, values[task])


def test_heads_by_task():
    tasks = task_set([(3,), (3,), (3,)], [2, 2, 2])
    heads = {"task_0": "scalar", "task_1": HLGauss(0, 100), "task_2": "quantile"}
    network = mtq.networks.shared_q_network(
        tasks, mtq.networks.mlp([8]), heads=heads, head_units={n: [4] for n in tasks}
    )
    model = mtq.MultiTaskDQN(network, tasks)
    assert [type(head).__name__ for head in model.q_learning.heads.values()] == ["Scalar", "HLGauss", "Quantile"]
    assert model.q_learning.heads["task_1"].high == 100
    model.compile("adam")
    logs = model.train_on_batch(random_batch(tasks, 8), return_dict=True)
    assert "task_1/clipped_targets" in logs
    assert "task_0/clipped_targets" not in logs


@pytest.mark.parametrize(
    ("heads", "loss", "wanted"),
    [
        ("hl_gauss", "huber", "a HLGauss, whose loss is 'cross_entropy'"),
        ("categorical", "quantile_huber", "a Categorical, whose loss is 'cross_entropy'"),
        ("quantile", "squared", "a Quantile, whose loss is 'quantile_huber'"),
        ("quantile", keras.losses.Huber(), "a Quantile, whose loss is 'quantile_huber'"),
        ("scalar", "cross_entropy", "a Scalar, whose loss is 'squared' or 'huber', or a Keras loss"),
    ],
)
def test_losses_that_do_not_fit(heads, loss, wanted):
    tasks = task_set([(3,)], [2])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), heads=heads), tasks)
    with pytest.raises(ValueError, match=error("loss must fit the head of task 'task_0', " + wanted, "Leave loss out")):
        model.compile("adam", loss)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HLGauss(3, 3), "The support of HLGauss must not be empty"),
        (lambda: Categorical(2, -2), "The support of Categorical must not be empty"),
        (lambda: Categorical(1.0, 1.00000001), "The support of Categorical must have evenly spaced, finite float32"),
        (lambda: HLGauss(1.0, 1.00000001), "The support of HLGauss must have evenly spaced, finite float32"),
        (lambda: HLGauss(1e6, 1e6 + 10), "The support of HLGauss must have evenly spaced, finite float32"),
        (lambda: Categorical(-1e39, 1e39), "The support of Categorical must have evenly spaced, finite float32"),
        (lambda: HLGauss(-3e38, 3e38), "The support of HLGauss must have evenly spaced, finite float32"),
        (lambda: Categorical(-np.inf, 0.0), "low of Categorical must be"),
        (lambda: Categorical(num_atoms=1), "num_atoms of Categorical must be an integer of at least 2"),
        (lambda: HLGauss(sigma=0), "sigma of HLGauss must be above 0"),
        (lambda: Quantile(0), "num_quantiles of Quantile must be an integer of at least 1"),
        (lambda: Quantile(kappa=-1), "kappa of Quantile must be above 0"),
        (lambda: mtq.heads.get("c51"), "The head must be one of"),
        (lambda: Categorical(return_scaling="popart"), "return_scaling of Categorical must be 'running' or None"),
        (lambda: Scalar(return_scaling="pop"), "return_scaling must be None, one of"),
        (lambda: mtq.heads.PopArt(rate=2), "rate of PopArt must be above 0"),
        (lambda: mtq.heads.RunningScale(limit=0), "limit of RunningScale must be above 0"),
        (lambda: mtq.Munchausen(temperature=0), "temperature of Munchausen must be above 0"),
        (lambda: mtq.Munchausen(alpha=1.5), "alpha of Munchausen must be from 0 to 1"),
        (lambda: mtq.heads.NoisyDense(0), "units of NoisyDense must be"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=error(message, "Received: ")):
        make()


@pytest.mark.parametrize("settings", [(2, 0.75), (3, 0.75), (51, 20.0)])
def test_a_histogram_that_is_too_coarse_for_its_width_is_told(settings):
    num_bins, sigma = settings
    with pytest.warns(UserWarning, match=r"num_bins of HLGauss should be more than four times sigma. Received: "):
        head = HLGauss(-10, 10, num_bins, sigma=sigma)
    assert head.limits == (-10.0, 10.0)


class Doubled(Scalar):
    """A head that is linear, but does not say how its targets are rescaled."""

    rescaled = mtq.heads.Head.rescaled


def test_a_head_for_popart_must_rescale_its_targets():
    with pytest.raises(ValueError, match=error("Doubled must define rescaled", "because PopArt changes", "Received:")):
        Doubled(return_scaling="popart")
    Doubled(return_scaling="running")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": {"task_0": "scalar"}}, "heads must have an entry for each task"),
        ({"heads": "c51"}, "The head must be one of"),
        ({"heads": 5}, "heads of task 'task_0' must be one of"),
        ({"heads": [4], "head_units": [4]}, "head_units must be left out if heads has widths"),
        ({"head_units": [0]}, "head_units of task 'task_0' must be an integer"),
        ({"return_scaling": {"task_0": "popart"}}, "return_scaling must have an entry for each task"),
        ({"heads": Scalar(return_scaling="popart"), "return_scaling": "running"}, "return_scaling of task 'task_0'"),
        ({"noisy": 1}, "noisy must be"),
    ],
)
def test_bad_arguments_of_networks(options, message):
    tasks = task_set([(3,), (3,)], [2, 4])
    with pytest.raises(ValueError, match=error(message, "Received: ")):
        mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), **options)


@pytest.mark.parametrize(("head", "shape"), [(HLGauss(num_bins=51), (3, 30)), (Quantile(7), (21,)), (Scalar(), (3, 1))])
def test_outputs_of_another_shape_than_the_heads(head, shape):
    with pytest.raises(ValueError, match=error(f"The outputs before a {type(head).__name__} must be of shape", "Give")):
        head(keras.Input(shape))


def test_double_and_munchausen_contradict_each_other():
    tasks = task_set([(3,)], [2])
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]))
    with pytest.raises(ValueError, match="double must be False if munchausen is given"):
        mtq.MultiTaskDQN(network, tasks, double=True, munchausen=True)
    with pytest.raises(ValueError, match="munchausen must be True, False or an"):
        mtq.MultiTaskDQN(network, tasks, munchausen=0.9)


@pytest.mark.parametrize("head", ["categorical", "quantile", "hl_gauss", "scalar"])
def test_munchausen_models_are_saved(head, tmp_path):
    tasks = task_set([(3,), (3,)], [2, 4])
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), heads=head, seed=0)
    model = mtq.MultiTaskDQN(network, tasks, munchausen=mtq.Munchausen(alpha=0.5))
    model.compile("adam")
    batch = random_batch(tasks, 8)
    model.train_on_batch(batch)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.munchausen.alpha == 0.5
    np.testing.assert_array_equal(*(m.train_on_batch(batch) for m in (model, loaded)))
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_noise_is_off_but_in_training_and_acting():
    tasks = task_set([(3,)], [2])
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), noisy=True, dueling=True, seed=0)
    model = mtq.MultiTaskDQN(network, tasks)
    x = {"task_0": tf.ones([4, 3])}
    quiet = [model.network(x)["task_0"].numpy() for _ in range(2)]
    np.testing.assert_array_equal(*quiet)
    acting = model.joint_q_values(["task_0"])
    loud = [np.asarray(f(x)["task_0"]) for f in (acting, acting, lambda x: network(x, training=True))]
    assert len({array.tobytes() for array in [*loud, quiet[0]]}) == 4
    np.testing.assert_array_equal(loud[0][0], loud[0][1])  # all rows have the same noise
    np.testing.assert_array_equal(model.act("task_0", np.ones([4, 3])), np.argmax(quiet[0], axis=1))
    for has_noise in (False, True):
        targets = [model.q_learning.outputs(x, of_target=True, has_noise=has_noise)["task_0"].numpy() for _ in range(2)]
        assert np.array_equal(*targets) is not has_noise
    model.compile("adam")
    batch, states = random_batch(tasks, 8), [np.array(variable) for variable in model.variables]
    assert model.test_on_batch(batch) == model.test_on_batch(batch)
    for before, variable in zip(states, model.variables, strict=True):
        np.testing.assert_array_equal(before, variable)


@pytest.mark.parametrize("options", [{"target_update_period": 1}, {"target_update_tau": 0.1}], ids=str)
def test_the_target_network_has_noise_of_its_own(options):
    tasks = task_set([(3,)], [2])
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), noisy=True, seed=0)
    model = mtq.MultiTaskDQN(network, tasks, **options)
    model.compile(keras.optimizers.SGD(0.0))
    x = {"task_0": tf.ones([4, 3])}
    for _ in range(2):
        online, target = (model.q_learning.outputs(x, of_target=which, has_noise=True) for which in (False, True))
        assert not np.allclose(online["task_0"], target["task_0"])
        model.train_on_batch(random_batch(tasks, 4))


def test_noisy_networks_do_not_act_at_random_by_default():
    tasks = mtq.TaskSet([mtq.Task("chain", "in_graph/Chain")])
    for noisy, epsilon in ((True, 0.0), (False, 1.0)):
        network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4]), noisy=noisy)
        experience = mtq.Experience(mtq.MultiTaskDQN(network, tasks), warmup_steps=10)
        policy = experience.replicas[0].drivers["chain"].policy
        assert float(policy._exploration.at(tf.constant(0))) == epsilon


class Cubed(Scalar):
    """A head of the user's own with a loss of its own."""

    loss_names = ("cubed",)

    def losses(self, target, outputs):
        return tf.abs(target.encoded - outputs) ** 3


def test_each_task_explores_at_random_unless_its_own_layers_are_noisy():
    tasks = mtq.TaskSet([mtq.Task(name, "in_graph/Chain") for name in "ab"])
    inputs = {name: keras.Input(tasks[name].spec.observation_shape, name=name) for name in "ab"}
    hidden = {"a": mtq.heads.NoisyDense(8)(inputs["a"]), "b": keras.layers.Dense(8)(inputs["b"])}
    network = keras.Model(inputs, {name: keras.layers.Dense(tasks[name].num_actions)(hidden[name]) for name in "ab"})
    drivers = mtq.Experience(mtq.MultiTaskDQN(network, tasks), warmup_steps=10).replicas[0].drivers
    assert {name: float(drivers[name].policy._exploration.at(tf.constant(0))) for name in "ab"} == {"a": 0.0, "b": 1.0}


def test_a_head_of_ones_own_has_its_own_loss():
    tasks = task_set([(3,)], [2])
    inputs = keras.Input((3,), name="task_0")
    network = keras.Model({"task_0": inputs}, {"task_0": Cubed()(keras.layers.Dense(2)(inputs))})
    model = mtq.MultiTaskDQN(network, tasks)
    model.compile(keras.optimizers.SGD(0.0))
    logs = model.train_on_batch(random_batch(tasks, 1), return_dict=True)
    assert logs["task_0/loss"] == pytest.approx(logs["task_0/td_error"] ** 3, rel=1e-4)
    for loss in ("huber", "squared", keras.losses.MeanAbsoluteError()):
        with pytest.raises(ValueError, match="must fit the head of task 'task_0', a Cubed, whose loss is its own"):
            model.compile(keras.optimizers.SGD(0.0), loss)


def test_a_loss_that_returns_one_number_has_no_weights_of_rows():
    targets, values, weight = tf.constant([1.0, 10.0]), tf.zeros(2), tf.constant([1.0, 0.0])
    by_row = ValueLoss(lambda y, q: tf.abs(y - q)[:, 0])
    assert float(by_row.of_values(targets, values, weight)) == 0.5
    mean = ValueLoss(lambda y, q: tf.reduce_mean(tf.abs(y - q)))
    assert float(mean.of_values(targets, values)) == 5.5
    with pytest.raises(ValueError, match="loss must return one number for each row"):
        mean.of_values(targets, values, weight)


@pytest.mark.parametrize("wrap", ["inside", "before"])
def test_heads_that_are_not_last_are_refused(wrap):
    tasks = task_set([(3,)], [2])
    inputs = keras.Input((3,), name="task_0")
    layers = [keras.layers.Dense(2), Scalar(return_scaling="popart")]
    call = keras.Sequential(layers) if wrap == "inside" else Then(layers)
    with pytest.raises(ValueError, match="A head must be the last layer of a task's path"):
        mtq.MultiTaskDQN(keras.Model({"task_0": inputs}, {"task_0": call(inputs)}), tasks)


class Then:
    """Calls layers, and one more after them."""

    def __init__(self, layers):
        self.layers = layers

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return keras.layers.Identity()(x)


def test_a_loss_of_scalar_heads_beside_others():
    tasks = task_set([(3,), (3,)], [2, 2])
    heads = {"task_0": "scalar", "task_1": "categorical"}
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4]), heads=heads), tasks)
    for loss in (None, "huber", keras.losses.MeanAbsoluteError(), "cross_entropy"):
        model.compile("adam", loss)
        model.train_on_batch(random_batch(tasks, 4))
    with pytest.raises(ValueError, match="loss must fit the head of task 'task_0'"):
        model.compile("adam", "quantile_huber")


def test_outputs_of_half_precision():
    tasks = task_set([(3,)], [2])
    inputs = keras.Input((3,), name="task_0")
    outputs = keras.layers.Dense(2, dtype="mixed_float16")(inputs)
    head = Scalar(return_scaling="popart")
    model = mtq.MultiTaskDQN(keras.Model({"task_0": inputs}, {"task_0": head(outputs)}), tasks)
    model.compile(keras.optimizers.SGD(0.1))
    assert np.isfinite(model.train_on_batch(random_batch(tasks, 4))).all()


@pytest.mark.thorough
def test_the_projection_is_that_of_tf_agents():
    pytest.importorskip("tf_agents")
    program = "from benchmarks.same_values import projection_difference; print(projection_difference(20))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1e-5

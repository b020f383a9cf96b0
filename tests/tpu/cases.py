"""The steps and the loop that are compiled for a TPU."""

import functools
import inspect

import tensorflow as tf

import mtq
from mtq.learning.train_function import make_train_function
from mtq.tasks.spec import TaskSpec
from tests.conformance import heads_test

BATCH_SIZE, NUM_ENVS = 32, 4
# Of `mtq.suites.classic`. XLA takes minutes to compile all five for a TPU, which has neither 64-bit integers, by which
# each task's replay divides, nor the double precision of Acrobot.
LOOP_TASKS = ("cart_pole", "mountain_car")


def learner(tasks, backbone, aggregator, loss="huber", munchausen=False, **options):
    """A model, compiled by Keras; XLA gets its convolutions as they are, as on any device but a CPU."""
    network = mtq.networks.shared_q_network(tasks, backbone, seed=0, **options)
    model = mtq.MultiTaskDQN(network, tasks, munchausen=munchausen)
    model.compile("adam", loss, aggregator=aggregator, jit_compile=False, steps_per_execution=100)
    return model


def step(model, update=None):
    """One update from a batch of every task: a `tf.function`, and its argument.

    Args:
        model: The model.
        update: The method; by default `train_step`. `learn` also returns the errors, for prioritized replay.
    """

    def of_task(task):
        observations = tf.zeros([BATCH_SIZE, *task.spec.observation_shape], task.spec.observation_dtype)
        actions, numbers = tf.zeros([BATCH_SIZE], tf.int32), tf.zeros([BATCH_SIZE])
        rows = mtq.value_learning.Transition(observations, actions, numbers, numbers, observations)
        fields = {"weight": numbers}  # as of prioritized replay
        if task.name in model.running_returns:
            fields["running_return"] = numbers
        return mtq.value_learning.with_fields(rows, **fields)

    batch = {name: of_task(task) for name, task in model.tasks.items()}
    model.prepare_update()  # as fit does
    return tf.function(update or model.train_step, autograph=False, jit_compile=True), batch


def loop(model, **options):
    """What `fit` calls where all tasks are in-graph: acting, stepping, storing, sampling and learning."""
    experience = mtq.Experience(model.tasks, model, steps_per_update=NUM_ENVS, **options)
    model._xla = True
    train_function = make_train_function(model, experience.batches(BATCH_SIZE), has_own_logs=False)
    return (inspect.getclosurevars(train_function).nonlocals["steps"],)


def images(shape, dtype, high):
    """Two tasks that are only looked at for their shapes."""
    actions = {"first": 6, "second": 4}
    return mtq.TaskSet([mtq.Task(name, None, spec=TaskSpec(shape, dtype, high, n)) for name, n in actions.items()])


def mlp(aggregator):
    return learner(mtq.suites.classic(NUM_ENVS), mtq.networks.mlp(), aggregator)


def bro_net(aggregator):
    return learner(mtq.suites.classic(NUM_ENVS), mtq.networks.bro_net(), aggregator)


def mlp_loop():
    tasks = mtq.TaskSet([task for name, task in mtq.suites.classic(NUM_ENVS).items() if name in LOOP_TASKS])
    return loop(learner(tasks, mtq.networks.mlp(), "normalized_sum"))


def prioritized_loop():
    tasks = mtq.TaskSet([mtq.Task(name, f"in_graph/{name}", num_envs=NUM_ENVS) for name in ("Chain", "Catch")])
    model = learner(tasks, mtq.networks.mlp(), "normalized_sum", loss=None, heads="categorical")
    return loop(model, sampler="prioritized", n_step=3)


def minatar_cnn(aggregator):
    return learner(images((10, 10, 4), "uint8", 1.0), mtq.networks.minatar_cnn(), aggregator)


def nature_cnn(aggregator):
    return learner(images((84, 84, 4), "uint8", 255.0), mtq.networks.nature_cnn(), aggregator)


# By name: the function that makes a `tf.function` and its arguments. What takes the longest to compile comes first.
CASES = {"MLP, in-graph loop": mlp_loop} | {
    f"{name}, {aggregator}": lambda make=make, aggregator=aggregator: step(make(aggregator))
    for name, make in {"Nature CNN": nature_cnn, "MinAtar CNN": minatar_cnn, "MLP": mlp}.items()
    for aggregator in ("sum", "normalized_sum")
}
HEADS = {
    "categorical, dueling, running scale": {"heads": "categorical", "dueling": True, "return_scaling": "running"},
    "HL-Gauss, Munchausen": {"heads": "hl_gauss", "munchausen": True},
    "quantile, PopArt": {"heads": "quantile", "return_scaling": "popart"},
    "scalar, noisy, PopArt": {"heads": "scalar", "noisy": True, "return_scaling": "popart"},
}


def heads(aggregator, options):
    return learner(mtq.suites.classic(NUM_ENVS), mtq.networks.mlp(), aggregator, loss=None, **options)


CASES |= {
    f"{name}, normalized_sum": lambda options=options: step(heads("normalized_sum", options))
    for name, options in HEADS.items()
}
CASES |= {
    "BroNet, normalized_sum": lambda: step(bro_net("normalized_sum")),
    "C51, in-graph loop with prioritized replay": prioritized_loop,
}


def of_product(head, aggregator, way):
    """One update of a small network, for which a TPU needs the same operations as for a large one."""
    model = heads_test.make_model(head, aggregator, way, jit_compile=False)
    return step(model, model.learn if way == "prioritized" else None)


# Every head with every aggregator: plain, with prioritized replay, and with each return scaling that fits.
PRODUCT = {", ".join(case): functools.partial(of_product, *case) for case in heads_test.PRODUCT}

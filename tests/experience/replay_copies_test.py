"""The compiled loop changes the table of a replay in place: a copy at every step would cost more than the update."""

import keras
import pytest
import tensorflow as tf

import mtq

CAPACITY = 1_234  # a number of rows that no other tensor has


@pytest.mark.xla
@pytest.mark.parametrize("num_envs", [1, pytest.param(2, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("name", ["MinAtar-Breakout", pytest.param("Catch", marks=pytest.mark.thorough)])
def test_the_table_is_changed_in_place(name, num_envs):
    tasks = mtq.TaskSet([mtq.Task("task", f"in_graph/{name}", num_envs=num_envs)])
    backbone = mtq.networks.mlp([4]) if name == "Catch" else mtq.networks.minatar_cnn(2, 4)
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone), tasks)
    model.compile(keras.optimizers.Adam())
    experience = mtq.Experience(model, warmup_steps=10, steps_per_update=num_envs, replay_capacity=CAPACITY)
    experience.prepare()
    model.prepare_update()
    replica = experience.current_replica()

    def learn(done):
        model.train_step(replica.next_batch(8).batch)
        return done + 1

    @tf.function(autograph=False, jit_compile=True)
    def loop():
        return tf.while_loop(lambda done: done < 5, lambda done: learn(done), [0], parallel_iterations=1)

    program = loop.experimental_get_compiler_ir()(stage="optimized_hlo")
    rows = CAPACITY // num_envs * num_envs
    assert f"[{rows}," in program
    # The program may copy the table once at its start, but not within its loop.
    in_loop = program[: program.index("ENTRY")]
    assert not [line for line in in_loop.splitlines() if f"[{rows}," in line and " copy(" in line]

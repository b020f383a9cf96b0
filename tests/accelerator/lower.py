"""Writes the training loops of in-graph tasks as programs that JAX alone can run: `tests.accelerator.run`.

    python -m tests.accelerator.lower build/accelerator

The folder then holds `programs.json`; for each program its HLO; and the values with which it starts, after the warm-up.
Copy it, with `tests/accelerator/run.py` and `tests/tpu/stablehlo.py`, to a machine with JAX and an accelerator.
"""

import inspect
import json
import sys
from pathlib import Path

import keras
import numpy as np
from tensorflow.compiler.xla.service.hlo_pb2 import HloModuleProto

import mtq
from mtq.learning.train_function import make_train_function
from tests.tpu.hlo import lowered

NUM_ENVS, BATCH_SIZE = 4, 32  # of each task; as many steps of each task per update as it has copies


def minatar(for_cpu):
    """The loop of benchmarks/images.py: five games in one network, Double DQN, normalized gradients."""
    tasks = mtq.suites.minatar(num_envs=NUM_ENVS)
    return made(tasks, mtq.networks.minatar_cnn(), 2.5e-4, 100_000, for_cpu)


def classic(for_cpu):
    """The five vector tasks of `mtq.suites.classic`."""
    return made(mtq.suites.classic(NUM_ENVS), mtq.networks.mlp([128, 128]), 1e-3, 50_000, for_cpu)


def made(tasks, backbone, learning_rate, replay_capacity, for_cpu, updates=100):
    """The loop of some updates, and the model whose variables it changes.

    Args:
        tasks: The tasks.
        backbone: The backbone of the network.
        learning_rate: The learning rate.
        replay_capacity: The capacity of each replay, in steps.
        for_cpu: Whether convolutions become products of matrices, which are faster on a CPU alone.
        updates: The number of updates of one call of the loop.
    """
    network = mtq.networks.shared_q_network(tasks, backbone, seed=0)
    model = mtq.MultiTaskDQN(network, tasks, target_update_period=1_000, double=True)
    model.compile(
        keras.optimizers.Adam(learning_rate),
        "huber",
        aggregator="normalized_sum",
        jit_compile=for_cpu,
        steps_per_execution=updates,
    )
    model._xla = True  # of the whole loop, whatever pays here
    experience = mtq.Experience(
        model, exploration=0.1, replay_capacity=replay_capacity, warmup_steps=1_000, steps_per_update=NUM_ENVS
    )
    train_function = make_train_function(model, experience.batches(BATCH_SIZE), has_own_logs=False)
    return inspect.getclosurevars(train_function).nonlocals["steps"], model, experience


PROGRAMS = {"five MinAtar games": minatar, "five classic tasks": classic}


def write(folder, number, name, make, for_cpu):
    """Writes one program, and returns what `programs.json` says of it."""
    steps, model, experience = make(for_cpu)
    model.prepare_update()
    experience.prepare()
    function = steps.get_concrete_function()
    serialized = lowered(steps)
    (folder / f"{number}.hlo").write_bytes(serialized)
    module = HloModuleProto.FromString(serialized)
    variables = {id(variable.handle): variable for variable in function.graph.variables}
    values = [
        variables.get(id(tensor), tensor).numpy() for tensor in function.captured_inputs
    ]  # the program's parameters, in order
    np.savez_compressed(folder / f"{number}.npz", *values)
    # An entry of the result is the new value of a variable, a parameter of the next call.
    carried = [[entry.output_shape_index[0], entry.parameter_number] for entry in module.input_output_alias.entries]
    handles = [id(tensor) for tensor in function.captured_inputs]
    num_steps = [handles.index(id(experience.statistics[task].steps.handle)) for task in model.tasks]
    return {
        "name": name,
        "for_cpu": for_cpu,
        "file": f"{number}.hlo",
        "values": f"{number}.npz",
        "carried": carried,
        "updates_per_call": model.steps_per_execution,
        "steps_per_update": NUM_ENVS,
        "step_counters": num_steps,
        "update_counter": handles.index(id(model.updates.handle)),
    }


def main(folder):
    """Writes all programs, each for accelerators and for CPUs."""
    folder.mkdir(parents=True, exist_ok=True)
    programs = []
    for name, make in PROGRAMS.items():
        for for_cpu in (False, True):
            print(f"Lowering {name} for {'CPUs' if for_cpu else 'accelerators'}", flush=True)
            programs.append(write(folder, len(programs), name, make, for_cpu))
    (folder / "programs.json").write_text(json.dumps(programs, indent=1))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))

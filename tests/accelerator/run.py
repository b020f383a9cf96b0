"""Runs what `tests.accelerator.lower` wrote on this machine's first device of JAX: a GPU, a TPU or a CPU.

    python -m tests.accelerator.run build/accelerator

It needs JAX 0.10 and NumPy, not TensorFlow. Before measuring, it checks that a call has made its updates and steps, and
that all numbers are finite. It prints a table with microseconds per update and environment steps per second, the
medians of five calls, and one JSON object as its last line.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)  # counters have 64 bits

from tests.tpu.stablehlo import compiled

CALLS = 5


class Program:
    """A program with its variables on a device.

    Args:
        folder: The folder of all programs.
        entry: What `programs.json` says of it.
        device: The device.
    """

    def __init__(self, folder, entry, device):
        self.entry = entry
        started = time.monotonic()
        self._executable = compiled((folder / entry["file"]).read_bytes(), device, device.client.compile_and_load)
        self.seconds_to_compile = time.monotonic() - started
        with np.load(folder / entry["values"]) as values:
            self._values = [jax.device_put(values[name], device) for name in values.files]

    def call(self):
        """Makes the updates of one call, and returns its seconds."""
        started = time.perf_counter()
        results = self._executable.execute_sharded(self._values).disassemble_into_single_device_arrays()
        results = [result for (result,) in results]
        jax.block_until_ready(results)
        for output, parameter in self.entry["carried"]:
            self._values[parameter] = results[output]
        return time.perf_counter() - started

    def counters(self):
        """The number of updates, and of the steps of each task."""
        steps = [int(self._values[index]) for index in self.entry["step_counters"]]
        return int(self._values[self.entry["update_counter"]]), steps

    def check(self):
        """Makes one call, and raises a ValueError unless it has made its updates and steps in finite numbers."""
        updates, steps = self.counters()
        self.call()
        number = self.entry["updates_per_call"]
        wanted = updates + number, [count + number * self.entry["steps_per_update"] for count in steps]
        if self.counters() != wanted:
            raise ValueError(f"A call must reach {wanted} updates and steps. Received: {self.counters()}.")
        for value in self._values:
            if np.issubdtype(value.dtype, np.floating) and not np.isfinite(np.asarray(value)).all():
                raise ValueError("All variables must stay finite. Received: one that did not.")

    def measured(self):
        """The row of the table."""
        self.check()
        seconds = statistics.median(self.call() for _ in range(CALLS)) / self.entry["updates_per_call"]
        steps = len(self.entry["step_counters"]) * self.entry["steps_per_update"]
        return {
            "microseconds_per_update": 1e6 * seconds,
            "environment_steps_per_second": steps / seconds,
            "seconds_to_compile": self.seconds_to_compile,
        }


def _text(row):
    update, steps, compiling = row.values()
    return f"{update:,.0f} | {steps:,.0f} | {compiling:.1f}"


def main(folder):
    """Runs the programs for this kind of device, and prints the figures."""
    device = jax.devices()[0]
    rows = {}
    print(f"| {device.device_kind} | µs an update | environment steps/s | seconds to compile |\n|---|---|---|---|")
    for entry in json.loads((folder / "programs.json").read_text()):
        if entry["for_cpu"] == (device.platform == "cpu"):
            row = rows[entry["name"]] = Program(folder, entry, device).measured()
            print(f"| {entry['name']} | {_text(row)} |", flush=True)
    print(json.dumps({"device": device.device_kind, "jax": jax.__version__, "programs": rows}))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))

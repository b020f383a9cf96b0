"""Compiles what `tests.tpu.lower` wrote for a TPU v5e that need not be there.

    .venv-tpu/bin/python -m tests.tpu.compile build/tpu

Prints a table, and one JSON object as its last line. GFLOP are of one update: XLA counts the body of a loop once.
It ends with an error that names the cases that did not compile.
"""

import os

os.environ |= {
    "TPU_SKIP_MDS_QUERY": "1",  # no metadata server is asked what this machine is
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_LOG_DIR": "disabled",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # another process here may be compiling too
}

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jax.experimental.topologies import get_topology_desc

from tests.tpu.stablehlo import compiled

TOPOLOGY = "v5e:2x2"
COLUMNS = {
    "seconds": "seconds to compile",
    "gflop": "GFLOP",
    "arguments": "MiB of arguments",
    "temporaries": "MiB of temporaries",
    "code": "MiB of code",
}


def measured(file, device):
    """What a row of the table says."""
    start = time.monotonic()
    executable = compiled(file.read_bytes(), device, device.client.compile)
    memory = executable.get_compiled_memory_stats()
    sizes = {
        "arguments": memory.argument_size_in_bytes,
        "temporaries": memory.temp_size_in_bytes,
        "code": memory.generated_code_size_in_bytes,
    }
    return {
        "seconds": time.monotonic() - start,
        "gflop": executable.cost_analysis()["flops"] / 1e9,
        **{name: size / 2**20 for name, size in sizes.items()},
    }


def main(folder):
    files = json.loads((folder / "cases.json").read_text())
    device = get_topology_desc(platform="tpu", topology_name=TOPOLOGY).devices[0]
    rows, errors = {}, {}
    print(f"| compiled for {device.device_kind} | {' | '.join(COLUMNS.values())} |\n|{'---|' * (1 + len(COLUMNS))}")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        started = {name: pool.submit(measured, folder / file, device) for name, file in files.items()}
        for name, future in started.items():
            try:
                rows[name] = future.result()
            except Exception as error:  # whatever XLA or MLIR raise
                errors[name] = f"{type(error).__name__}: {error}"
                continue
            print(f"| {name} | {' | '.join(f'{rows[name][column]:.3g}' for column in COLUMNS)} |", flush=True)
    for name, error in errors.items():
        print(
            f"The case '{name}' does not compile for {device.device_kind}. Received: {error[:2_000]}", file=sys.stderr
        )
    print(json.dumps({"device": device.device_kind, "topology": TOPOLOGY, "cases": rows, "errors": errors}))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

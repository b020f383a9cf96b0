"""Worker processes on loopback, and what they leave."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent.parent


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(arguments, log, tf_config=None):
    """Starts `mtq` in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "TF_CONFIG"))}
    if tf_config is not None:
        environment["TF_CONFIG"] = json.dumps(tf_config)
    command = [sys.executable, "-m", "mtq.cli", *arguments]
    with log.open("w") as file:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)


def start_workers(number, arguments, folder):
    """Starts `mtq` in so many processes of one run; their logs are `worker_<n>.log`."""
    workers = [f"127.0.0.1:{port}" for port in free_ports(number)]
    return [
        start(
            [*arguments, "--strategy", "multi_worker"],
            folder / f"worker_{index}.log",
            {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}},
        )
        for index in range(number)
    ]


def wait(processes, seconds):
    """Waits for all, and returns their exit codes."""
    end = time.monotonic() + seconds
    try:
        return [process.wait(max(0.1, end - time.monotonic())) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def wait_for(path, seconds):
    """Waits until a file or folder is there."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.1)


def weights(run):
    """Of the model in a run's last checkpoint."""
    path = sorted((run / "checkpoint").glob("epoch_*"))[-1] / "model.npz"
    with np.load(path) as saved:
        return {name: saved[name] for name in saved.files}


def log(folder, index):
    """What a worker printed, without what TensorFlow says of itself."""
    return (folder / f"worker_{index}.log").read_text()

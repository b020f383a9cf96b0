"""Writes the HLO of every case for `tests.tpu.compile`.

    python -m tests.tpu.lower build/tpu

The folder then holds `cases.json`, from names to files, and the files.
"""

import json
import sys
from pathlib import Path

from tests.tpu.cases import CASES
from tests.tpu.hlo import lowered


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: f"{number}.hlo" for number, name in enumerate(CASES)}
    for name, make in CASES.items():
        print(f"Lowering {name}", flush=True)
        try:
            (folder / files[name]).write_bytes(lowered(*make()))
        except ValueError as error:
            sys.exit(f"The case '{name}' cannot be compiled for a TPU. {error}")
    (folder / "cases.json").write_text(json.dumps(files))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

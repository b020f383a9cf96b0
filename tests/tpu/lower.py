"""Writes the HLO of every case for `tests.tpu.compile`.

    python -m tests.tpu.lower build/tpu
    python -m tests.tpu.lower build/tpu_product "quantile, .*"  # the product of heads and aggregators, or a part of it

The folder then holds `cases.json`, from names to files, and the files. A second argument is a regular expression of the
names of cases of the product, which takes hours.
"""

import json
import re
import sys
from pathlib import Path

from tests.tpu.cases import CASES, PRODUCT
from tests.tpu.hlo import lowered


def main(folder, pattern=None):
    folder.mkdir(parents=True, exist_ok=True)
    cases = CASES
    if pattern is not None:
        cases = {name: make for name, make in PRODUCT.items() if re.fullmatch(pattern, name)}
    if not cases:
        sys.exit(
            f"The pattern must match a case of the product. Received: {pattern!r}. Such as: {next(iter(PRODUCT))!r}."
        )
    files = {name: f"{number}.hlo" for number, name in enumerate(cases)}
    for name, make in cases.items():
        print(f"Lowering {name}", flush=True)
        try:
            (folder / files[name]).write_bytes(lowered(*make()))
        except ValueError as error:
            sys.exit(f"The case '{name}' cannot be compiled for a TPU. {error}")
    (folder / "cases.json").write_text(json.dumps(files))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])

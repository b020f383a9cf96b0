"""Runs the command `mtq` as `python -m mtq.cli`."""

import sys

from mtq.cli.main import main

sys.exit(main())

"""`python -m mtq.cli` is the command `mtq`."""

import sys

from mtq.cli.main import main

sys.exit(main())

"""The command line `mtq`. Its modules import TensorFlow only within the commands that need it."""

from mtq.cli.main import main as main

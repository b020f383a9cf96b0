collect_ignore = ["compile.py", "stablehlo.py"]  # whose packages live in a venv of their own

collect_ignore = ["compile.py"]  # whose packages live in a venv of their own

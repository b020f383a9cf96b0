collect_ignore = ["run.py"]  # whose packages live in a venv of their own

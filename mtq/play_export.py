"""`python -m mtq.play_export FOLDER TASKS` plays tasks from an export: see `mtq.cli.play_export`."""

from mtq.cli.play_export import main

if __name__ == "__main__":
    main()

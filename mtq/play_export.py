"""`python -m mtq.play_export EXPORT TASKS.json` plays tasks with an exported model; see `mtq.cli.play_export`."""

from mtq.cli.play_export import main

if __name__ == "__main__":
    main()

"""Of which logs more is better, and of which less."""


def direction_of(monitor: str) -> str | None:
    """Whether a log is better when it is more, `"max"`, or less, `"min"`; None where that is not known.

    Args:
        monitor: The name of the log.
    """
    what = monitor.rpartition("/")[2]
    if monitor == "val_score" or ("/" in monitor and what == "return"):
        return "max"
    if monitor in ("loss", "val_loss") or ("/" in monitor and what in ("loss", "td_error")):
        return "min"
    return None

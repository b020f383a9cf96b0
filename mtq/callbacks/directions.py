"""Whether higher or lower values of a logged quantity are better."""


def direction_of(monitor: str) -> str | None:
    """Says whether higher or lower values of a logged quantity are better.

    Args:
        monitor: The name of the quantity in the logs, such as `"val_score"` or `"cart_pole/loss"`.

    Returns:
        `"max"` if higher values are better, `"min"` if lower ones are, None if mtq does not know.
    """
    what = monitor.rpartition("/")[2]
    if monitor == "val_score" or ("/" in monitor and what == "return"):
        return "max"
    if monitor in ("loss", "val_loss") or ("/" in monitor and what in ("loss", "td_error")):
        return "min"
    return None

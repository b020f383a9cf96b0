"""The direction in which a logged quantity improves: whether higher or lower values are better."""


def direction_of(monitor: str) -> str | None:
    """Returns whether higher or lower values of a logged quantity are better.

    Args:
        monitor: The name of the quantity in the logs, such as `"val_score"` or `"cart_pole/loss"`.

    Returns:
        `"max"` if higher values are better, `"min"` if lower ones are, None if mtq does not know.
    """
    quantity = monitor.rpartition("/")[2]
    if monitor == "val_score" or ("/" in monitor and quantity == "return"):
        return "max"
    if monitor in ("loss", "val_loss") or ("/" in monitor and quantity in ("loss", "td_error")):
        return "min"
    return None


def checked_direction(callback: str, monitor: str, mode: str) -> str:
    """Returns `"max"` or `"min"` for a callback that follows a logged quantity.

    Args:
        callback: The name of the callback's class, for the message.
        monitor: The name of the quantity in the logs.
        mode: The mode of the callback: `"max"`, `"min"` or `"auto"`.

    Raises:
        ValueError: The monitor is not a text, the mode is none of these, or it is `"auto"` for a quantity whose
            direction mtq does not know.
    """
    if not isinstance(monitor, str) or not monitor:
        raise ValueError(
            f"monitor of {callback} must be the name of a quantity in the logs, such as 'val_score'. Received: "
            f"{monitor!r}."
        )
    direction = direction_of(monitor) if mode == "auto" else mode
    if direction not in ("max", "min"):
        raise ValueError(
            f"mode of {callback} must state whether more or less of {monitor!r} is better. Received: {mode!r}. "
            "Pass mode='max' or mode='min'."
        )
    return direction

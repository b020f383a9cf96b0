"""How many updates one call into the graph makes."""


def steps_per_execution(updates_per_epoch: int, most: int = 50) -> int:
    """How many updates one execution may have so that an epoch is a whole number of them.

    Args:
        updates_per_epoch: `steps_per_epoch` of `fit`.
        most: More are not wanted, as callbacks run only between executions.
    """
    return max(number for number in range(1, most + 1) if updates_per_epoch % number == 0)

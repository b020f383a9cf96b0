"""A check of the ranks of tensors."""

import tensorflow as tf


def check_ranks(**named: tuple[tf.Tensor, int]) -> None:
    """Raises a ValueError unless tensors have certain ranks.

    Args:
        **named: A tensor and its rank, by the name of the argument.
    """
    for name, (tensor, rank) in named.items():
        if len(tensor.shape) != rank:
            raise ValueError(f"{name} must have rank {rank}. Received: shape {tuple(tensor.shape)}.")

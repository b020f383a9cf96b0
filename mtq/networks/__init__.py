"""Backbones, encoders and heads, and the functional model that joins them for a set of tasks."""

from mtq.heads import DuelingHead, NoisyDense
from mtq.networks.backbones import (
    backbone_for,
    bro_net,
    data_efficient_cnn,
    impala_cnn,
    minatar_cnn,
    mlp,
    nature_cnn,
)
from mtq.networks.encoders import ChannelPadding, dense_encoder, resizing_encoder
from mtq.networks.paths import TaskPaths
from mtq.networks.residual import Residual
from mtq.networks.shared import shared_q_network

__all__ = [
    "ChannelPadding",
    "DuelingHead",
    "NoisyDense",
    "Residual",
    "TaskPaths",
    "backbone_for",
    "bro_net",
    "data_efficient_cnn",
    "dense_encoder",
    "impala_cnn",
    "minatar_cnn",
    "mlp",
    "nature_cnn",
    "resizing_encoder",
    "shared_q_network",
]

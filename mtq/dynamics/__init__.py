"""In-graph environments: their dynamics as pure functions of tensors, which run without host calls."""

from mtq.dynamics.acrobot import Acrobot
from mtq.dynamics.car_on_hill import CarOnHill
from mtq.dynamics.cart_pole import CartPole
from mtq.dynamics.catch import Catch
from mtq.dynamics.chain import Chain
from mtq.dynamics.dynamics import Dynamics
from mtq.dynamics.inverted_pendulum import InvertedPendulum
from mtq.dynamics.mountain_car import MountainCar

BY_NAME: dict[str, type[Dynamics]] = {
    "Acrobot": Acrobot,
    "CarOnHill": CarOnHill,
    "CartPole": CartPole,
    "Catch": Catch,
    "Chain": Chain,
    "InvertedPendulum": InvertedPendulum,
    "MountainCar": MountainCar,
}

__all__ = [
    "BY_NAME",
    "Acrobot",
    "CarOnHill",
    "CartPole",
    "Catch",
    "Chain",
    "Dynamics",
    "InvertedPendulum",
    "MountainCar",
]

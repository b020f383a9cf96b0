"""In-graph environments: their dynamics as pure functions of tensors, which run without host calls."""

from collections.abc import Callable

from mtq.dynamics import minatar
from mtq.dynamics.acrobot import Acrobot
from mtq.dynamics.car_on_hill import CarOnHill
from mtq.dynamics.cart_pole import CartPole
from mtq.dynamics.catch import Catch
from mtq.dynamics.chain import Chain
from mtq.dynamics.dynamics import Dynamics
from mtq.dynamics.fields import Block, Entities, Fields
from mtq.dynamics.inverted_pendulum import InvertedPendulum
from mtq.dynamics.mountain_car import MountainCar
from mtq.dynamics.sticky import Sticky


def _sticky(game: type[minatar.Game]) -> Callable[[], Dynamics]:
    return lambda: Sticky(game(), minatar.STICKY)


BY_NAME: dict[str, Callable[[], Dynamics]] = {
    "Acrobot": Acrobot,
    "CarOnHill": CarOnHill,
    "CartPole": CartPole,
    "Catch": Catch,
    "Chain": Chain,
    "InvertedPendulum": InvertedPendulum,
    "MountainCar": MountainCar,
    **{f"MinAtar-{game.__name__}": _sticky(game) for game in minatar.GAMES},
}

__all__ = [
    "BY_NAME",
    "Acrobot",
    "Block",
    "CarOnHill",
    "CartPole",
    "Catch",
    "Chain",
    "Dynamics",
    "Entities",
    "Fields",
    "InvertedPendulum",
    "MountainCar",
    "Sticky",
    "minatar",
]

"""MinAtar's five games as in-graph environments.

Reference: Young and Tian, "MinAtar: An Atari-Inspired Testbed for Thorough and Reproducible Reinforcement Learning
Experiments", 2019.
"""

from mtq.dynamics.minatar.asterix import Asterix
from mtq.dynamics.minatar.board import Game
from mtq.dynamics.minatar.breakout import Breakout
from mtq.dynamics.minatar.freeway import Freeway
from mtq.dynamics.minatar.seaquest import Seaquest
from mtq.dynamics.minatar.space_invaders import SpaceInvaders

STICKY = 0.1  # the probability of repeating the previous action, in the published settings
GAMES: tuple[type[Game], ...] = (Asterix, Breakout, Freeway, Seaquest, SpaceInvaders)

__all__ = ["GAMES", "STICKY", "Asterix", "Breakout", "Freeway", "Game", "Seaquest", "SpaceInvaders"]

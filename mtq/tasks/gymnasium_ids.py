"""Registers mtq's ids with Gymnasium when it is imported: `mtq/<game>` for each game of MinAtar."""

import gymnasium

MINATAR_GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")

for _game in MINATAR_GAMES:
    gymnasium.register(
        f"mtq/{_game}", entry_point="mtq.environments.minatar:MinAtar", kwargs={"game": _game}, order_enforce=False
    )

"""The ids that mtq adds to Gymnasium's: `mtq/<game>` for MinAtar's games. Importing this module adds them."""

import gymnasium

MINATAR_GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")

for _game in MINATAR_GAMES:
    gymnasium.register(
        f"mtq/{_game}", entry_point="mtq.environments.minatar:MinAtar", kwargs={"game": _game}, order_enforce=False
    )

"""Asterix: a player collects gold and avoids enemies."""

from typing import Any

import numpy as np
import tensorflow as tf

from mtq.dynamics.fields import Block, Fields
from mtq.dynamics.minatar.board import (
    DOWN,
    LEFT,
    RIGHT,
    SIZE,
    UP,
    Game,
    choice,
    draw,
    draw_all,
    is_off,
    moved,
    number,
    shorten_intervals,
    side,
)

_LANES = 8  # the rows 1 to 8, with at most one thing in each
_ROWS = np.arange(1.0, _LANES + 1, dtype=np.float32)
_RAMP = 100.0  # frames from one increase of the difficulty to the next


class Asterix(Game):
    """Things cross the board in eight rows. Gold gives a reward of 1, and an enemy ends the game.

    Channels: player, enemies, trails, gold.
    """

    observation_shape = (SIZE, SIZE, 4)
    num_random = 3
    # Intervals and timers are in frames. `ramps` counts the increases of the difficulty. Slot k of `things` is in row
    # k + 1; `direction` is −1 or 1, and `gold` is 0 for an enemy.
    fields = Fields(
        x=(),
        y=(),
        spawn_interval=(),
        spawn_timer=(),
        move_interval=(),
        move_timer=(),
        ramp_timer=(),
        ramps=(),
        things=Block(_LANES, "x", "direction", "gold"),
    )

    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """Returns the player in the middle of an empty board."""
        return self.fields.fill(
            random.shape[0],
            x=5.0,
            y=5.0,
            spawn_interval=10.0,
            spawn_timer=10.0,
            move_interval=5.0,
            move_timer=5.0,
            ramp_timer=_RAMP,
        )

    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Moves the player and, at their intervals, the things."""
        s = self.fields.unpack(state)
        self._spawn(s, random)
        s.x = moved(s.x, action, LEFT, RIGHT)
        s.y = moved(s.y, action, UP, DOWN, least=1.0, most=float(_LANES))
        gold_before, ends_before = self._touch(s, tf.ones_like(s.x, tf.bool))
        moves = s.move_timer == 0
        s.move_timer = tf.where(moves, s.move_interval, s.move_timer)
        s.things.x = tf.where(moves[:, None], s.things.x + s.things.direction, s.things.x)
        s.things.alive &= ~is_off(s.things.x)
        gold_after, ends_after = self._touch(s, moves)
        s.move_timer -= 1
        s.spawn_timer -= 1
        if self.difficulty_ramping:
            self._ramp(s)
        return self.fields.pack(s), gold_before + gold_after, ends_before | ends_after

    def channels(self, s: Any) -> list[tf.Tensor]:
        """Returns the images of the player, the enemies, the cells behind enemies and gold, and the gold."""
        things, is_gold = s.things, s.things.gold > 0
        return [
            draw(s.x, s.y),
            draw_all(things.x, _ROWS, things.alive & ~is_gold),
            draw_all(things.x - things.direction, _ROWS, things.alive),
            draw_all(things.x, _ROWS, things.alive & is_gold),
        ]

    def _spawn(self, s: Any, random: tf.Tensor) -> None:
        """Puts gold or an enemy into a random empty row."""
        is_due = s.spawn_timer == 0
        free = ~s.things.alive
        rank = tf.cumsum(number(free), axis=1) - 1  # of the free slots
        chosen = choice(random[:, 2], 0.0, tf.reduce_sum(number(free), axis=1) - 1)
        slots = free & (rank == chosen[:, None]) & is_due[:, None]
        x, direction = side(random[:, 0])
        s.things.add(slots, x=x, direction=direction, gold=number(random[:, 1] < 1 / 3))
        s.spawn_timer = tf.where(is_due, s.spawn_interval, s.spawn_timer)

    def _touch(self, s: Any, where: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Takes the gold in the player's cell. Returns its number, and whether an enemy is there."""
        touched = s.things.alive & (s.things.x == s.x[:, None]) & (s.y[:, None] == _ROWS) & where[:, None]
        taken = touched & (s.things.gold > 0)
        s.things.alive &= ~taken
        return tf.reduce_sum(number(taken), axis=1), tf.reduce_any(touched & ~taken, axis=1)

    def _ramp(self, s: Any) -> None:
        """Shortens the intervals."""
        can_ramp = (s.spawn_interval > 1) | (s.move_interval > 1)
        is_due = can_ramp & (s.ramp_timer < 0)
        shorten_intervals(s, is_due, least_move_interval=1.0)
        s.ramp_timer = tf.where(is_due, _RAMP, s.ramp_timer - number(can_ramp))

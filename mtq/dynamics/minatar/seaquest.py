"""Seaquest: a submarine shoots fish and enemy submarines, rescues divers, and has to come up for air."""

from typing import Any

import tensorflow as tf

from mtq.dynamics.fields import Block, Fields
from mtq.dynamics.minatar.board import (
    DOWN,
    FIRE,
    LAST,
    LEFT,
    RIGHT,
    SIZE,
    UP,
    Game,
    choice,
    draw,
    draw_all,
    is_at,
    is_off,
    moved,
    number,
    shorten_intervals,
    side,
)

_DEEPEST = 8.0  # the lowest row of the submarine
_OXYGEN = 200.0  # the frames that a submarine can stay below the surface
_CREW = 6.0  # the number of divers that fit aboard
_SHOT, _ENEMY_SHOT = 5.0, 10.0
_DIVER_SPAWN, _DIVER_MOVE = 30.0, 5.0

# The numbers of slots, which are never all in use:
# - Bullets leave the board within 10 frames of the shot, and shots are at least 5 frames apart: at most 2.
# - Divers move in every sixth frame, so that they leave within 60 frames, and come in every thirtieth: at most 2.
# - Enemies that move at an interval m move in every frame of number m + 1, and so leave within 10 · (m + 1) frames.
#   They come at most once in s frames, where s ≥ 1 is the spawn interval, and the number of those that are there
#   while another one comes is at most 10 · (m + 1) / s. Both intervals begin at m = 5 and s = 20, and with the ramping
#   m is 2, its least, before s is below 14. So there are at most 30 of them, at m = 2 and s = 1.
# - An enemy submarine shoots in every eleventh frame, and for the first time in the eleventh frame of its life. Its
#   last bullet has left the board before it shoots again, or before another enemy in its slot shoots. So each slot for
#   an enemy needs one slot for a bullet, of the same number.
_BULLETS, _DIVERS, _ENEMIES = 3, 4, 32


class Seaquest(Game):
    """A submarine gets a reward of 1 for each enemy that it shoots, and up to 10 for a full crew of divers.

    Channels: front of the submarine, back of the submarine, bullets, trails, bullets of enemies, fish, enemy
    submarines, oxygen, divers aboard, divers.
    """

    observation_shape = (SIZE, SIZE, 10)
    num_random = 5
    # Intervals and timers are in frames. `direction` is −1 or 1. `surfaced` is 1 from the submarine's arrival at the
    # surface until it dives. `ramps` counts the increases of the difficulty. `sub` is 1 for an enemy submarine and 0
    # for a fish, and `age` is an age in frames.
    fields = Fields(
        x=(),
        y=(),
        direction=(),
        surfaced=(),
        oxygen=(),
        crew=(),
        shot_timer=(),
        spawn_interval=(),
        spawn_timer=(),
        diver_timer=(),
        move_interval=(),
        ramps=(),
        bullets=Block(_BULLETS, "x", "y", "direction"),
        divers=Block(_DIVERS, "x", "y", "direction", "move_timer", "age"),
        enemies=Block(_ENEMIES, "x", "y", "direction", "move_timer", "shot_timer", "sub", "age"),
        enemy_bullets=Block(_ENEMIES, "x", "y", "direction"),
    )

    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """Returns the submarine at the surface of an empty sea."""
        return self.fields.fill(
            random.shape[0],
            x=5.0,
            direction=-1.0,
            surfaced=1.0,
            oxygen=_OXYGEN,
            spawn_interval=20.0,
            spawn_timer=20.0,
            diver_timer=_DIVER_SPAWN,
            move_interval=5.0,
        )

    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Moves the submarine, the bullets, the divers and the enemies, in this order."""
        s = self.fields.unpack(state)
        self._spawn_enemy(s, random[:, :3])
        self._spawn_diver(s, random[:, 3:])
        self._steer(s, action)
        reward = self._move_bullets(s)
        self._move_divers(s)
        is_sub = s.enemies.sub > 0
        shots, ends = self._move_enemies(s, is_sub)
        reward += shots
        ends |= self._move_enemy_bullets(s)
        shots, ends_by_fish = self._move_enemies(s, ~is_sub)
        reward += shots
        s.enemies.age += 1
        for timer in ("spawn_timer", "diver_timer", "shot_timer"):
            setattr(s, timer, tf.maximum(getattr(s, timer) - 1, 0.0))
        rescued, ends_by_air = self._breathe(s)
        return self.fields.pack(s), reward + rescued, ends | ends_by_fish | ends_by_air

    def channels(self, s: Any) -> list[tf.Tensor]:
        """Returns the images of the submarine, of all others, and of the gauges in the lowest row."""
        enemies, divers, bullets, enemy_bullets = s.enemies, s.divers, s.bullets, s.enemy_bullets
        is_sub, column = enemies.sub > 0, tf.range(float(SIZE))
        trails = [draw_all(things.x - things.direction, things.y, things.alive) for things in (enemies, divers)]
        crew = s.crew[:, None]
        return [
            draw(s.x, s.y),
            draw(s.x - s.direction, s.y),
            draw_all(bullets.x, bullets.y, bullets.alive),
            tf.maximum(*trails),
            draw_all(enemy_bullets.x, enemy_bullets.y, enemy_bullets.alive),
            draw_all(enemies.x, enemies.y, enemies.alive & ~is_sub),
            draw_all(enemies.x, enemies.y, enemies.alive & is_sub),
            _gauge(column < _tenths(s.oxygen)[:, None]),
            _gauge((column >= LAST - crew) & (column < LAST)),
            draw_all(divers.x, divers.y, divers.alive),
        ]

    def _spawn_enemy(self, s: Any, random: tf.Tensor) -> None:
        """Brings an enemy when it is time, unless others move against it in its row."""
        enemies, is_due = s.enemies, s.spawn_timer == 0
        (x, direction), row = side(random[:, 0]), choice(random[:, 2], 1.0, _DEEPEST)
        opposed = enemies.alive & (enemies.y == row[:, None]) & (enemies.direction == -direction[:, None])
        enemies.add(
            enemies.first_free(is_due & ~tf.reduce_any(opposed, axis=1)),
            x=x,
            y=row,
            direction=direction,
            move_timer=s.move_interval,
            shot_timer=_ENEMY_SHOT,
            sub=number(random[:, 1] < 1 / 3),
            age=0.0,
        )
        s.spawn_timer = tf.where(is_due, s.spawn_interval, s.spawn_timer)

    def _spawn_diver(self, s: Any, random: tf.Tensor) -> None:
        """Brings a diver when it is time."""
        is_due, (x, direction) = s.diver_timer == 0, side(random[:, 0])
        s.divers.add(
            s.divers.first_free(is_due),
            x=x,
            y=choice(random[:, 1], 1.0, _DEEPEST),
            direction=direction,
            move_timer=_DIVER_MOVE,
            age=0.0,
        )
        s.diver_timer = tf.where(is_due, _DIVER_SPAWN, s.diver_timer)

    def _steer(self, s: Any, action: tf.Tensor) -> None:
        """Shoots or moves the submarine."""
        fires = (action == FIRE) & (s.shot_timer == 0)
        s.bullets.add(s.bullets.first_free(fires), x=s.x, y=s.y, direction=s.direction)
        s.shot_timer = tf.where(fires, _SHOT, s.shot_timer)
        s.x = moved(s.x, action, LEFT, RIGHT)
        s.y = moved(s.y, action, UP, DOWN, most=_DEEPEST)
        s.direction = tf.where(action == LEFT, -1.0, tf.where(action == RIGHT, 1.0, s.direction))

    def _move_bullets(self, s: Any) -> tf.Tensor:
        """Moves the submarine's bullets. Returns the number of enemies that they hit, fish before submarines."""
        s.bullets.x += s.bullets.direction
        s.bullets.alive &= ~is_off(s.bullets.x)
        is_sub = s.enemies.sub > 0
        return _hit(s, ~is_sub) + _hit(s, is_sub)

    def _move_divers(self, s: Any) -> None:
        """Moves the divers, and takes those aboard that the submarine meets before or after their move."""
        divers = s.divers
        is_met = is_at(divers, s.x, s.y)
        moves = divers.move_timer == 0
        divers.x = tf.where(moves, divers.x + divers.direction, divers.x)
        divers.move_timer = tf.where(moves, _DIVER_MOVE, divers.move_timer - 1)
        is_met |= is_at(divers, s.x, s.y)
        is_older = divers.age[:, None, :] > divers.age[:, :, None]  # [N, K, K]: the second one than the first
        rank = tf.reduce_sum(number(is_met[:, None, :] & is_older), axis=2)
        boards = is_met & (rank < _CREW - s.crew[:, None])  # the oldest first, while there is room
        s.crew += tf.reduce_sum(number(boards), axis=1)
        divers.alive &= ~boards & ~is_off(divers.x)
        divers.age += 1

    def _move_enemies(self, s: Any, of_kind: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Moves the enemies of a kind, and lets those that are submarines shoot.

        Args:
            s: The fields of the state, which are changed.
            of_kind: Whether an enemy is of the kind, `[N, K]` bool.

        Returns:
            The number of enemies that move into bullets, and whether one meets the submarine, `[N]`.
        """
        enemies = s.enemies
        present = enemies.alive & of_kind
        meets = present & is_at(enemies, s.x, s.y)
        moves = present & (enemies.move_timer == 0)
        enemies.x = tf.where(moves, enemies.x + enemies.direction, enemies.x)
        timer = tf.where(enemies.move_timer == 0, s.move_interval[:, None], enemies.move_timer - 1)
        enemies.move_timer = tf.where(present, timer, enemies.move_timer)
        enemies.alive &= ~(moves & is_off(enemies.x))
        runs_into = moves & is_at(enemies, s.x, s.y)
        hits = _hit(s, moves & ~runs_into)
        is_sub = present & (enemies.sub > 0)  # also those that have just left or were hit
        shoots = is_sub & (enemies.shot_timer == 0)
        s.enemy_bullets.add(shoots, x=enemies.x, y=enemies.y, direction=enemies.direction)
        timer = tf.where(shoots, _ENEMY_SHOT, enemies.shot_timer - 1)
        enemies.shot_timer = tf.where(is_sub, timer, enemies.shot_timer)
        return hits, tf.reduce_any(meets | runs_into, axis=1)

    def _move_enemy_bullets(self, s: Any) -> tf.Tensor:
        """Moves the enemies' bullets. Returns whether one meets the submarine before or after its move."""
        bullets = s.enemy_bullets
        meets = is_at(bullets, s.x, s.y)
        bullets.x += bullets.direction
        bullets.alive &= ~is_off(bullets.x)
        return tf.reduce_any(meets | is_at(bullets, s.x, s.y), axis=1)

    def _breathe(self, s: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Uses oxygen, or surfaces. Returns the reward for a full crew, and whether the game ends."""
        is_below = s.y > 0
        arrives = ~is_below & (s.surfaced == 0)
        ends = (s.oxygen <= 0) | (arrives & (s.crew == 0))
        surfaces = arrives & (s.crew != 0)
        rescues = surfaces & (s.crew == _CREW)
        reward = tf.where(rescues, _tenths(s.oxygen), 0.0)
        s.crew = tf.where(rescues, 0.0, s.crew) - number(surfaces)
        s.oxygen = tf.where(is_below, s.oxygen - 1, tf.where(surfaces, _OXYGEN, s.oxygen))
        s.surfaced = number(~is_below & (surfaces | (s.surfaced > 0)))
        if self.difficulty_ramping:
            can_ramp = surfaces & ((s.spawn_interval > 1) | (s.move_interval > 2))
            shorten_intervals(s, can_ramp, least_move_interval=2.0)
        return reward, ends


def _hit(s: Any, candidates: tf.Tensor) -> tf.Tensor:
    """Removes bullets of the submarine together with the enemies that they hit.

    Each bullet hits the oldest of the candidates in its cell.

    Args:
        s: The fields of the state, which are changed.
        candidates: Whether an enemy can be hit, `[N, K]` bool.

    Returns:
        The number of enemies that are hit, `[N]` float32.
    """
    bullets, enemies, hits = s.bullets, s.enemies, []
    for k in range(_BULLETS):
        there = is_at(enemies, bullets.x[:, k], bullets.y[:, k]) & bullets.alive[:, k, None] & candidates
        age = tf.where(there, enemies.age, -1.0)
        is_oldest = there & (age == tf.reduce_max(age, axis=1, keepdims=True))
        enemies.alive &= ~is_oldest
        hits.append(tf.reduce_any(is_oldest, axis=1))
    is_spent = tf.stack(hits, axis=1)  # [N, K]
    bullets.alive &= ~is_spent
    return tf.reduce_sum(number(is_spent), axis=1)


def _tenths(oxygen: tf.Tensor) -> tf.Tensor:
    """Returns the whole part of ten times the share of the oxygen, exact because oxygen is whole."""
    return tf.floor((oxygen + 0.5) / (_OXYGEN / 10))


def _gauge(shown: tf.Tensor) -> tf.Tensor:
    """Returns an image with a gauge `[N, 10]` in the lowest row."""
    return tf.pad(number(shown)[:, None], [[0, 0], [SIZE - 1, 0], [0, 0]])

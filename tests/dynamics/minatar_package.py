"""The package `minatar` as a black box: transitions from states that are read from it, with its random outcomes.

Only attributes of its games and the calls of its random generator are used. A game's random outcomes are translated to
the uniform numbers that lead to them in mtq.
"""

from typing import NamedTuple

import minatar
import numpy as np

from mtq.dynamics import minatar as games


class Transitions(NamedTuple):
    """Transitions of a game, in arrays of equal length, and the number of states that were left out."""

    state: dict
    action: np.ndarray
    random: np.ndarray
    image: np.ndarray
    reward: np.ndarray
    ended: np.ndarray
    left_out: int


class Recorder:
    """A NumPy random generator that notes its calls and their results."""

    def __init__(self, random):
        self._random, self.calls = random, []

    def __getattr__(self, name):
        method = getattr(self._random, name)

        def call(*args, **kwargs):
            result = method(*args, **kwargs)
            self.calls.append((args, np.copy(result)))
            return result

        return call


def sign(flag):
    return 1.0 if flag else -1.0


def within(integer, number):
    """A uniform number from which the integer follows, of integers 0 … number − 1."""
    return (integer + 0.5) / number


def block(entities, size, *features):
    """The features of entities in the first slots of a block."""
    arrays = {name: np.zeros(size) for name in ("alive", *features)}
    for slot, values in enumerate(entities):
        for name, value in zip(("alive", *features), (1.0, *values), strict=True):
            arrays[name][slot] = value
    return np.stack(list(arrays.values()), axis=-1)


class Breakout:
    ours, name = games.Breakout, "breakout"

    def state(self, e):
        right, down = {0: (-1, -1), 1: (1, -1), 2: (1, 1), 3: (-1, 1)}[int(e.ball_dir)]
        return dict(
            ball_x=e.ball_x, ball_y=e.ball_y, right=right, down=down, trail_x=e.last_x, trail_y=e.last_y, paddle=e.pos,
            met=float(e.strike), bricks=np.copy(e.brick_map[1:4]),
        )  # fmt: skip

    def random(self, calls):
        return [0.5]

    def policy(self, e, rng):
        return int(rng.integers(6)) if rng.random() < 0.2 else 1 if e.pos > e.ball_x else 3 if e.pos < e.ball_x else 0

    def vary(self, e, rng):
        e.brick_map[1:4] *= rng.random((3, 10)) < rng.random()


class Freeway:
    ours, name = games.Freeway, "freeway"

    def state(self, e):
        x, timer, velocity = ([car[k] for car in e.cars] for k in (0, 2, 3))
        return dict(chicken=e.pos, pause=e.move_timer, x=x, timer=timer, velocity=velocity)

    def random(self, calls):
        if not calls:
            return np.full(16, 0.5)
        (_, speeds), (_, coins) = calls
        return np.concatenate([within(speeds - 1, 5), coins])

    def policy(self, e, rng):
        return int(rng.choice([2, 2, 2, 2, 4, 0, 1]))

    def vary(self, e, rng):
        pass


class Asterix:
    ours, name = games.Asterix, "asterix"

    def state(self, e):
        things = np.zeros((8, 4))
        for row, thing in enumerate(e.entities):
            if thing is not None:
                things[row] = [1.0, thing[0], sign(thing[2]), float(thing[3])]
        return dict(
            x=e.player_x, y=e.player_y, spawn_interval=e.spawn_speed, spawn_timer=e.spawn_timer,
            move_interval=e.move_speed, move_timer=e.move_timer, ramp_timer=e.ramp_timer, ramps=e.ramp_index,
            things=things,
        )  # fmt: skip

    def random(self, calls):
        coins = [float(value) for args, value in calls if not args]
        slots = [within(int(value), args[0]) for args, value in calls if args]
        return [*coins, 0.5, 0.5][:2] + [*slots, 0.5][:1]

    def policy(self, e, rng):
        return int(rng.integers(6))

    def vary(self, e, rng):
        e.spawn_speed, e.move_speed = int(rng.integers(1, 11)), int(rng.integers(1, 6))
        e.ramp_index, e.ramp_timer = int(rng.integers(12)), int(rng.integers(-1, 30))


class SpaceInvaders:
    ours, name = games.SpaceInvaders, "space_invaders"

    def state(self, e):
        return dict(
            cannon=e.pos, shot_timer=e.shot_timer, direction=e.alien_dir, move_interval=e.enemy_move_interval,
            move_timer=e.alien_move_timer, alien_shot_timer=e.alien_shot_timer, bullets=np.copy(e.f_bullet_map),
            alien_bullets=np.copy(e.e_bullet_map), aliens=np.copy(e.alien_map),
        )  # fmt: skip

    def random(self, calls):
        return []

    def policy(self, e, rng):
        return int(rng.choice([5, 5, 1, 3, 0, 2, 4]))

    def vary(self, e, rng):
        e.enemy_move_interval = int(rng.integers(6, 13))
        e.alien_move_timer = min(e.alien_move_timer, e.enemy_move_interval)
        e.alien_map *= rng.random((10, 10)) < rng.choice([1.0, 0.5, 0.1])
        e.alien_map[int(rng.integers(4)), int(rng.integers(2, 8))] = 1


class Seaquest:
    ours, name = games.Seaquest, "seaquest"

    def state(self, e):
        enemies = [(x, y, sign(right), timer, 0.0, 0.0, -k) for k, (x, y, right, timer) in enumerate(e.e_fish, -50)]
        subs = [(x, y, sign(right), timer, shot, 1.0, -k) for k, (x, y, right, timer, shot) in enumerate(e.e_subs, -50)]
        divers = [(x, y, sign(right), timer, -k) for k, (x, y, right, timer) in enumerate(e.divers, -50)]
        for entities in (e.e_fish, e.e_subs, e.divers, e.f_bullets, e.e_bullets):
            if len(set(map(tuple, entities))) < len(entities):
                return None  # equal entries, of which the package may treat one twice
        # A bullet must not be in the slot of an enemy that shoots: enemies fill the first slots, bullets the last ones.
        bullets = [(x, y, sign(right)) for x, y, right in e.e_bullets]
        enemy = ("x", "y", "direction", "move_timer", "shot_timer", "sub", "age")
        return dict(
            x=e.sub_x, y=e.sub_y, direction=sign(e.sub_or), surfaced=float(e.surface), oxygen=e.oxygen,
            crew=e.diver_count, shot_timer=e.shot_timer, spawn_interval=e.e_spawn_speed, spawn_timer=e.e_spawn_timer,
            diver_timer=e.d_spawn_timer, move_interval=e.move_speed, ramps=e.ramp_index,
            bullets=block([(x, y, sign(right)) for x, y, right in e.f_bullets], 3, "x", "y", "direction"),
            divers=block(divers, 4, "x", "y", "direction", "move_timer", "age"),
            enemies=block(enemies + subs, 32, *enemy),
            enemy_bullets=block(bullets, 32, "x", "y", "direction")[::-1],
        )  # fmt: skip

    def random(self, calls):
        values, numbers = [value for _, value in calls], [0.5] * 5
        if len(values) in (3, 5):
            numbers[:3] = [values[0], values[1], within(values[2] - 1, 8)]
        if len(values) in (2, 5):
            numbers[3:] = [values[-2], within(values[-1] - 1, 8)]
        return numbers

    def policy(self, e, rng):
        if rng.random() < 0.5:
            return int(rng.choice([1, 3, 5, 5, 0, 2, 4]))
        return 4 if e.sub_y < 2 else 2 if e.oxygen < 20 or e.diver_count == 6 else int(rng.choice([1, 3, 5]))

    def vary(self, e, rng):
        e.ramp_index = int(rng.integers(20))
        e.e_spawn_speed, e.move_speed = 20 - e.ramp_index, max(2, 5 - (e.ramp_index + 1) // 2)
        e.e_spawn_timer = min(e.e_spawn_timer, e.e_spawn_speed)
        e.diver_count, e.oxygen = int(rng.integers(7)), int(rng.integers(1, 201))


GAMES = {game.name: game() for game in (Asterix, Breakout, Freeway, Seaquest, SpaceInvaders)}


def play(name, number, seed=0):
    """Plays `number` transitions: first the published game with random actions, then from harder states."""
    game, rng = GAMES[name], np.random.default_rng(seed)
    environment = minatar.Environment(name, sticky_action_prob=0.0)
    environment.seed(seed)
    e, recorder = environment.env, Recorder(environment.env.random)
    e.random = recorder
    environment.reset()
    rows, left_out = [], 0
    while len(rows) < number:
        is_published = 2 * len(rows) < number
        state, recorder.calls = game.state(e), []
        action = int(rng.integers(6)) if is_published else game.policy(e, rng)
        reward, ended = environment.act(action)
        if state is None:
            left_out += 1
        else:
            image = environment.state().astype(np.uint8)
            rows.append((state, action, game.random(recorder.calls), image, float(reward), bool(ended)))
        if ended:
            environment.reset()
            if not is_published:
                game.vary(e, rng)
    states, *columns = zip(*rows, strict=True)
    state = {field: np.array([each[field] for each in states], np.float32) for field in states[0]}
    return Transitions(state, *map(np.array, columns), left_out)

"""Spaces × backbones × export: what is understood is right from the environment to the SavedModel, the rest refused."""

import warnings

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import mtq
from mtq.environments import EnvironmentCopies
from mtq.tasks.spec import TaskSpec
from tests.messages import error

BY_CHANNEL = np.broadcast_to(np.array([10.0, 5.0, 2.0]), (10, 10, 3))
MIXED = {"low": np.array([0, -5, 0]), "high": np.array([1, 5, 1_000])}


class Anything(gymnasium.Env):
    """Observes what its space samples; takes the actions of its space and no others, and rewards with their numbers."""

    def __init__(self, space, start=0):
        self.observation_space, self.action_space = space, spaces.Discrete(3, start=start)

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps, self.seen = 0, self.observation_space.sample()
        return self.seen, {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.steps += 1
        self.seen = self.observation_space.sample()
        return self.seen, float(action), self.steps == 3, False, {}


def box(low, high, shape=None, dtype=np.float32):
    low, high = (np.asarray(bound, dtype) if shape is None else bound for bound in (low, high))
    return spaces.Box(low, high, shape, dtype)


def flat(*layers):
    return lambda: keras.Sequential([*(make() for make in layers), keras.layers.Flatten(), keras.layers.Dense(4)])


UNIT, RAW = (0, 1), "as they are"
# By backbone the names of spaces, and between which numbers the network has them before its encoders.
VECTORS = {
    "vector": (box(-10, 10, (3,)), RAW),
    "vector_without_bounds": (box(-np.inf, np.inf, (3,)), RAW),
    "vector_of_float64": (box(-1e3, 1e3, (3,), np.float64), RAW),
    "vector_of_float16": (box(-1, 1, (3,), np.float16), RAW),
    "ram": (box(0, 255, (128,), np.uint8), UNIT),
    "ram_of_floats": (box(0, 255, (128,)), UNIT),
    "counts": (box(0, 1_000, (3,), np.int64), UNIT),
    "counts_by_entry": (box(**MIXED, dtype=np.int32), UNIT),
    "negative_integers": (box(-128, 127, (3,), np.int8), UNIT),
    "far_from_zero": (box(10_000_000, 10_000_003, (3,), np.int64), UNIT),
    "bools": (box(0, 1, (3,), np.bool_), UNIT),
    "discrete": (spaces.Discrete(4, start=-1), UNIT),
    "multi_discrete": (spaces.MultiDiscrete([3, 4]), UNIT),
    "multi_discrete_with_axes": (spaces.MultiDiscrete([[3, 4], [2, 2]]), UNIT),
    "multi_binary": (spaces.MultiBinary(5), UNIT),
    "multi_binary_with_axes": (spaces.MultiBinary([2, 3]), UNIT),
    "dict": (spaces.Dict({"a": box(-9, 9, (2,)), "b": spaces.Discrete(3)}), RAW),
    "dict_of_bytes_and_floats": (spaces.Dict({"a": box(0, 255, (4,), np.uint8), "b": box(-1, 1, (2,))}), (-1, 1)),
    "tuple": (spaces.Tuple([box(0, 255, (4,), np.uint8), spaces.Dict({"b": box(0, 9, (), int)})]), UNIT),
}
SMALL_IMAGES = {
    "to_255": (box(0, 255, (10, 10, 3), np.uint8), UNIT),
    "to_1": (box(0, 1, (10, 10, 4), np.uint8), UNIT),
    "to_7": (box(0, 7, (10, 10, 4), np.uint8), UNIT),
    "from_100": (box(100, 200, (10, 10, 4), np.uint8), UNIT),
    "by_channel": (box(np.zeros((10, 10, 3)), BY_CHANNEL, dtype=np.uint8), UNIT),
    "of_bools": (box(0, 1, (10, 10, 4), np.bool_), UNIT),
    "of_int32": (box(0, 255, (10, 10, 3), np.int32), UNIT),
    "of_int64": (box(0, 255, (10, 10, 3), np.int64), UNIT),
    "of_int8": (box(-128, 127, (10, 10, 3), np.int8), UNIT),
    "of_uint16": (box(0, 65_535, (10, 10, 3), np.uint16), UNIT),
    "of_floats_to_255": (box(0, 255, (10, 10, 3)), UNIT),
    "of_float64_to_255": (box(0, 255, (10, 10, 3), np.float64), UNIT),
    "of_floats_to_100": (box(0, 100, (10, 10, 1)), UNIT),
    "of_floats_by_channel": (box(np.zeros((10, 10, 3)), BY_CHANNEL), UNIT),
    "of_floats_to_1": (box(0, 1, (10, 10, 3)), RAW),
    "of_floats_around_0": (box(-1, 1, (10, 10, 3)), RAW),
    "colored_frames": (box(0, 255, (2, 10, 10, 3), np.uint8), UNIT),
    "gray": (box(0, 1, (10, 10), np.uint8), UNIT),
}
LARGE_IMAGES = {
    "frames_last": (box(0, 255, (40, 48, 4), np.uint8), UNIT),
    "frames_first": (box(0, 255, (4, 40, 48), np.uint8), UNIT),
    "one_frame_first": (box(0, 255, (1, 40, 48), np.uint8), UNIT),
    "frames_of_floats_first": (box(0, 255, (4, 40, 48)), UNIT),
    "colors_first": (box(0, 1, (3, 40, 48)), UNIT),
    "colored_frames": (box(0, 255, (2, 40, 48, 3), np.uint8), UNIT),
    "gray": (box(0, 255, (40, 48), np.uint8), UNIT),
    "gray_of_floats": (box(0, 255, (40, 48)), UNIT),
}
TABLE = {
    "mlp": (lambda: mtq.networks.mlp([8]), VECTORS),
    "minatar_cnn": (lambda: mtq.networks.minatar_cnn(2, 8), SMALL_IMAGES),
    "nature_cnn": (lambda: mtq.networks.nature_cnn(16), LARGE_IMAGES),
    "flattening": (flat(), {"tiny": (box(0, 255, (1, 1, 3), np.uint8), UNIT)}),
    "stacks": (flat(), {"stacked": (box(-1, 1, (4, 3)), RAW)}),
    "moving": (flat(lambda: keras.layers.Permute((2, 3, 1))), {"moved": (box(0, 255, (4, 10, 10)), UNIT)}),
    "embedding": (flat(lambda: keras.layers.Embedding(10, 2)), {"names": (box(0, 9, (3,), np.int64), RAW)}),
}


def raw(task, space, seen):
    """An observation as it goes into an export: as `gymnasium.spaces.flatten` makes it, of the task's type."""
    array = np.asarray(seen if isinstance(space, spaces.Box) else spaces.flatten(space, seen))
    return tf.constant(array[None].astype(task.spec.observation_dtype))


def before_the_encoders(network, name):
    """The network's layers that scale and move the observations of a task."""
    names = [layer.name for layer in network.layers]
    last = next((layer for layer in (f"{name}_layout", f"{name}_scaling") if layer in names), None)
    return keras.Model(network.input[name], network.get_layer(last).output if last else network.input[name])


@pytest.fixture
def channels_first():
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


QUICK = ("mlp", "stacks")  # the others are further cases


@pytest.mark.parametrize(
    "backbone", [name if name in QUICK else pytest.param(name, marks=pytest.mark.thorough) for name in TABLE]
)
def test_from_the_environment_to_the_saved_model(backbone, tmp_path):
    check(*TABLE[backbone], tmp_path)


@pytest.mark.thorough
def test_whatever_the_order_of_axes_is_that_keras_takes_by_default(channels_first, tmp_path):
    make_small, small = TABLE["minatar_cnn"]
    check(make_small, {name: small[name] for name in ("to_7", "by_channel", "gray")}, tmp_path / "small")
    make_large, large = TABLE["nature_cnn"]
    check(make_large, {name: large[name] for name in ("frames_last", "frames_first")}, tmp_path / "large")


def check(make_backbone, rows, tmp_path):
    made = {name: [] for name in rows}
    tasks = mtq.TaskSet(
        mtq.Task(name, lambda name=name, space=space: made[name].append(Anything(space, 5)) or made[name][-1])
        for name, (space, _) in rows.items()
    )
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, make_backbone(), seed=0), tasks)
    model.export(tmp_path / "export")
    signatures = tf.saved_model.load(tmp_path / "export").signatures
    for name, (space, expected) in rows.items():
        before, path, seen = before_the_encoders(model.network, name), model.paths[name], []
        act, copies = mtq.evaluation.greedy_policy(path), EnvironmentCopies(tasks[name], 1, 0)
        observation = copies.reset()
        for _ in range(3):
            given = raw(tasks[name], space, made[name][-1].seen)
            answer = signatures[name](observation=given)
            np.testing.assert_allclose(answer["q_values"], path(observation), rtol=1e-4, atol=1e-5, err_msg=name)
            (action,) = act(observation)
            assert answer["action"].numpy().tolist() == [action + 5], name
            seen.append(np.asarray(before(observation)))
            if expected == RAW:
                np.testing.assert_array_equal(seen[-1], given, err_msg=name)
            step = copies.step(np.array([action]))  # which its action space contains, or the environment stops here
            assert step.reward.tolist() == [action + 5], name
            observation = step.observation
        if expected != RAW:
            low, high = expected
            assert low <= np.min(seen) <= low + 0.35, name
            assert high - 0.35 <= np.max(seen) <= high, name
        assert mtq.Task.from_config(tasks[name].get_config()).spec == tasks[name].spec


@pytest.mark.parametrize("backbone", ["mlp", "minatar_cnn", "nature_cnn"])
def test_the_backbone_by_shape(backbone):
    for name, (space, _) in TABLE[backbone][1].items():
        shape = mtq.Task(name, lambda space=space: Anything(space)).spec.observation_shape
        if shape == (10, 10):  # may be a stack of vectors
            continue
        assert mtq.networks.backbone_for([shape]) == backbone, name


class Mission(spaces.Space):
    """As MiniGrid's: no space that Gymnasium knows how to flatten."""

    def __init__(self):
        super().__init__((), str)


IMAGE = box(0, 255, (7, 7, 3), np.uint8)
TEXT = spaces.Text(5)
REFUSED = {
    "text": (TEXT, ("'a'", "one array of fixed shape", "Text")),
    "sequence": (spaces.Sequence(spaces.Discrete(3)), ("Sequence",)),
    "graph": (spaces.Graph(spaces.Discrete(2), None), ("Graph",)),
    "one_of": (spaces.OneOf([spaces.Discrete(2), spaces.Discrete(3)]), ("OneOf",)),
    "minigrid": (
        spaces.Dict({"direction": spaces.Discrete(4), "image": IMAGE, "mission": Mission()}),
        ("'a'", "observation['mission'] is a Mission", "minigrid.wrappers.ImgObsWrapper"),
    ),
    "text_within": (spaces.Dict({"a": spaces.Tuple([box(0, 1, (2,)), TEXT])}), ("observation['a'][1] is a Text",)),
    "image_of_floats_without_bounds_in_a_tuple": (
        spaces.Tuple([box(0, np.inf, (8, 8, 1)), spaces.Discrete(2)]),
        ("observation[0], an image", "must have bounds"),
    ),
    "no_numbers": (box(0, 1, (4, 0)), ("at least one number", "Received: shape (4, 0)")),
    "empty_dict": (spaces.Dict({}), ("at least one number",)),
    "one_number": (box(0, 1, ()), ("at least one dimension",)),
    "image_without_bounds": (
        box(0, np.iinfo(np.int64).max - 1, (7, 7, 3), np.int64),
        ("images of task 'a' must have bounds", "0 and 255"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused_with_the_remedy(name):
    space, parts = REFUSED[name]
    with pytest.raises(ValueError, match=error(*parts)):
        mtq.Task("a", lambda: Anything(space))


def test_the_remedies_work():
    space = spaces.Dict({"image": IMAGE, "vector": box(-1, 1, (3,)), "mission": TEXT})

    def image():
        env = Anything(space)
        observe = gymnasium.wrappers.TransformObservation
        return observe(env, lambda observation: observation["image"], env.observation_space["image"])

    assert mtq.Task("a", image).spec == TaskSpec((7, 7, 3), "uint8", 255.0, 3)
    vector = lambda: gymnasium.wrappers.FilterObservation(Anything(space), ["vector"])  # noqa: E731
    assert mtq.Task("a", vector).spec == TaskSpec((3,), "float32", None, 3)


def test_integers_that_float32_does_not_tell_apart():
    class Large(Anything):
        def reset(self, *, seed=None, options=None):
            return np.array([2**24 + 1]), {}

    space = box(0, np.iinfo(np.int64).max - 1, (1,), np.int64)
    task = mtq.Task("a", lambda: Large(space))
    assert task.spec == TaskSpec((1,), "float32", None, 3)  # without bounds as they are
    with pytest.raises(ValueError, match=error("'a'", "16777216", "Received: integers from 16777217", "Scale them")):
        EnvironmentCopies(task, 1, 0).reset()


def test_observations_beyond_the_bounds_by_which_they_are_scaled():
    class Beyond(Anything):
        def reset(self, *, seed=None, options=None):
            return np.full((10, 10, 1), 255, np.uint8), {}

    copies = EnvironmentCopies(mtq.Task("a", lambda: Beyond(box(0, 1, (10, 10, 1), np.uint8))), 1, 0)
    with pytest.raises(ValueError, match=error("'a'", "within the bounds", "0 to 1", "Received:", "255")):
        copies.reset()


class Later(Anything):
    """Observes what it is told to from the second step on."""

    def __init__(self, space, later):
        super().__init__(space)
        self.later = later

    def step(self, action):
        _, *others = super().step(action)
        return (self.observation_space.sample() if self.steps < 2 else self.later), *others


PART = spaces.Dict({"a": box(0, 255, (2,), np.uint8), "b": box(-1, 1, (2,))})
BYTES, FLOATS = np.zeros(2, np.uint8), np.zeros(2, np.float32)
NOT_OF_THE_SPACE = {
    "float_to_255": (box(0, 255, (3,)), np.full(3, 256.0)),
    "float_below_0": (box(0, 255, (3,)), np.full(3, -1.0)),
    "many_floats_to_255": (box(0, 255, (100,)), np.full(100, 300.0)),
    "image_of_floats_to_1": (box(0, 1, (10, 10, 3)), np.full((10, 10, 3), 255.0)),
    "image_without_bounds": (box(-np.inf, np.inf, (10, 10, 1)), np.full((10, 10, 1), 200.0)),
    "image_without_an_upper_bound": (box(0, np.inf, (40, 40)), np.full((40, 40), 200.0)),
    "gray_image_of_floats": (box(0, 1, (40, 40)), np.full((40, 40), 255, np.uint8)),
    "by_channel": (box(np.zeros((10, 10, 3)), BY_CHANNEL), np.full((10, 10, 3), 10, np.float32)),
    "bytes_from_20": (box(20, 255, (3,), np.uint8), np.full(3, 3, np.uint8)),
    "bytes_as_floats": (box(0, 255, (3,), np.uint8), np.full(3, 0.5)),
    "integers_as_fractions": (box(0, 9, (3,), np.int32), np.full(3, 0.5, np.float32)),
    "entries_swapped": (box(**MIXED, dtype=np.int32), np.array([0, 0, 1], np.int32) * -1_000),
    "category_of_none": (spaces.Discrete(4), -1),
    "category_beyond": (spaces.Discrete(4, start=1), 5),
    "categories": (spaces.MultiDiscrete([3, 4]), np.array([3, 0])),
    "bits": (spaces.MultiBinary(3), np.array([2, 0, 0])),
    "key_missing": (PART, {"a": BYTES}),
    "key_too_many": (PART, {"a": BYTES, "b": FLOATS, "c": FLOATS}),
    "parts_of_other_shapes": (PART, {"a": np.zeros(3, np.uint8), "b": np.zeros(1)}),
    "part_that_wraps": (PART, {"a": np.array([300, 0]), "b": FLOATS}),
    "part_of_fractions": (PART, {"a": np.array([0.5, 0]), "b": FLOATS}),
    "part_of_nan": (PART, {"a": BYTES, "b": np.array([np.nan, 0])}),
    "tuple_swapped": (spaces.Tuple([spaces.Discrete(2), box(-1, 1, (2,))]), (FLOATS, 1)),
    "masked": (box(-9, 9, (3,)), np.ma.masked_array(np.zeros(3), [0, 1, 0])),
}


@pytest.mark.parametrize("num_copies", [1, 3])
@pytest.mark.parametrize("name", NOT_OF_THE_SPACE)
def test_what_is_not_of_the_announced_space_is_refused_at_every_step(name, num_copies):
    space, later = NOT_OF_THE_SPACE[name]
    copies = EnvironmentCopies(mtq.Task("robot", lambda: Later(space, later)), num_copies, 0)
    copies.reset()
    copies.step(np.zeros(num_copies, int))
    with pytest.raises(ValueError, match=error("The environment of task 'robot' must return", "Received: ")):
        copies.step(np.zeros(num_copies, int))


def test_vectors_of_floats_beyond_their_bounds_are_reported_once():
    space = box(-1, 1, (3,))
    copies = EnvironmentCopies(mtq.Task("beyond", lambda: Later(space, np.full(3, 5.0))), 1, 0)
    copies.reset()
    copies.step(np.zeros(1, int))
    with pytest.warns(UserWarning, match=r"'beyond' must return .* -1 to 1\. Received: .* 5\.0.* continues"):
        step = copies.step(np.zeros(1, int))
    assert step.next_observation.tolist() == [[5.0] * 3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copies.step(np.zeros(1, int))


def test_bounds_are_exact_to_the_rounding_of_float32():
    high = np.full(3, 0.1, np.float32)
    rounded = np.full(3, np.nextafter(np.float32(25.5), np.float32(26)))
    for space, later in ((spaces.Box(-high, high), np.full(3, 0.1)), (box(0, 25.5, (10, 10, 3)), rounded)):
        copies = EnvironmentCopies(mtq.Task("a", lambda s=space, v=later: Later(s, np.broadcast_to(v, s.shape))), 1, 0)
        copies.reset()
        for _ in range(3):
            copies.step(np.zeros(1, int))


def test_images_without_bounds_are_told_by_the_first_ones():
    """As of depths in metres: most are small, and a run does not end because of a far one."""
    depths = iter([1.0, 2.0, 17.3, 18.2])

    class Depths(Anything):
        def _observation(self):
            return np.full((10, 10, 1), next(depths), np.float32)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return self._observation(), {}

        def step(self, action):
            return self._observation(), 0.0, False, False, {}

    copies = EnvironmentCopies(mtq.Task("depths", lambda: Depths(box(0, np.inf, (10, 10, 1)))), 1, 0)
    copies.reset()
    copies.step(np.zeros(1, int))
    with pytest.warns(UserWarning, match=r"'depths' must return images from -16 to 16.*clip the images.*continues"):
        copies.step(np.zeros(1, int))
    copies.step(np.zeros(1, int))


@pytest.mark.parametrize("role", ["action_space", "observation_space"])
def test_spaces_that_change(role):
    def changing(other):
        class Changing(Anything):
            def reset(self, *, seed=None, options=None):
                if seed is None:
                    setattr(self, role, other)
                return super().reset(seed=seed)

        copies = EnvironmentCopies(mtq.Task("a", lambda: Changing(box(-9, 9, (3,)))), 2, 0)
        copies.reset()
        return copies

    same, others = [
        {"action_space": spaces.Discrete(3, start=n), "observation_space": box(-9, 9 - n, (3,))} for n in (0, 4)
    ]
    changing(same[role]).restart()
    with pytest.raises(ValueError, match=error(f"'a' must keep its {role}", "Received: ")):
        changing(others[role]).restart()


def test_a_flattening_of_the_users_own_is_scaled_by_parts_too():
    space = spaces.Dict({"a": box(0, 255, (2,), np.uint8), "b": box(-9, 9, (1,)), "c": spaces.Discrete(2)})
    inner = lambda: gymnasium.wrappers.FlattenObservation(Anything(space))  # noqa: E731
    limited = lambda: gymnasium.wrappers.TimeLimit(inner(), 5)  # noqa: E731
    expected = TaskSpec((5,), "float32", (255.0, 255.0, 1.0, 1.0, 1.0), 3)
    assert mtq.Task("a", inner).spec == mtq.Task("a", limited).spec == expected


def test_a_spec_of_before_still_loads():
    config = mtq.Task("a", lambda: Anything(IMAGE)).get_config()
    config["spec"] = {k: config["spec"][k] for k in ("observation_shape", "observation_dtype", "observation_high")}
    config["spec"] |= {"num_actions": 3, "in_graph": False}
    assert mtq.Task.from_config(config).spec == TaskSpec((7, 7, 3), "uint8", 255.0, 3)

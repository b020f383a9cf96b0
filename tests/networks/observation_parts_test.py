"""Dict and Tuple observations with images: one vector up to the network, which takes it apart for named encoders."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import mtq
from mtq.environments import EnvironmentCopies
from mtq.networks import minatar_cnn, mlp, nature_cnn, shared_q_network
from mtq.networks.parts import ObservationPart, part_layers
from mtq.tasks.spec import TaskSpec, part_specs
from tests.messages import error

IMAGE, SPEED = spaces.Box(0, 255, (10, 12, 3), np.uint8), spaces.Box(-1, 1, (3,))
CELLS = spaces.Dict({"image": IMAGE, "room": spaces.Discrete(4), "speed": SPEED})


class Sampled(gymnasium.Env):
    """Observes what its space samples."""

    def __init__(self, space):
        self.observation_space, self.action_space = space, spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps, self.seen = 0, self.observation_space.sample()
        return self.seen, {}

    def step(self, action):
        self.steps, self.seen = self.steps + 1, self.observation_space.sample()
        return self.seen, 1.0, self.steps == 4, False, {}


class LitCorner(gymnasium.Env):
    """One step: the action of the lit corner is right, or the one after it if the switch is on.

    Neither the image nor the vector says alone which action is right.
    """

    observation_space = spaces.Dict(
        {"image": spaces.Box(0, 255, (6, 6, 1), np.uint8), "switch": spaces.Box(0, 1, (1,))}
    )
    action_space = spaces.Discrete(2)

    def _observe(self):
        image = np.zeros((6, 6, 1), np.uint8)
        self.corner, self.switch = self.np_random.integers(2, size=2)
        image[:2, :2] = 255 * (self.corner == 0)
        image[-2:, -2:] = 255 * (self.corner == 1)
        return {"image": image, "switch": np.array([self.switch], np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._observe(), {}

    def step(self, action):
        reward = float(action == (self.corner + self.switch) % 2)
        return self._observe(), reward, True, False, {}


def task_of(space, name="robot", **options):
    return mtq.Task(name, lambda: Sampled(space), **options)


boxes = st.sampled_from(
    [
        spaces.Box(0, 255, (4, 5, 2), np.uint8),
        spaces.Box(-7, 9, (3, 4, 2), np.int16),
        spaces.Box(0, 255, (4, 4, 1)),
        spaces.Box(-2, 2, (4, 4, 1)),
        spaces.Box(-1, 1, (2, 3)),
        spaces.Box(-9, 9, (2,)),
        spaces.Box(0, 9, (), np.int64),
        spaces.Discrete(3, start=-1),
        spaces.MultiBinary([2, 2]),
    ]
)
nested = st.recursive(
    boxes,
    lambda inner: (
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(spaces.Dict)
        | st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple)
    ),
    max_leaves=5,
).filter(lambda space: isinstance(space, spaces.Dict | spaces.Tuple))


def leaves(space, value, path=()):
    """The name, space and value of each part, without mtq."""
    if isinstance(space, spaces.Dict):
        for key in space.spaces:
            yield from leaves(space[key], value[key], (*path, key))
    elif isinstance(space, spaces.Tuple):
        for number, part in enumerate(space.spaces):
            yield from leaves(part, value[number], (*path, str(number)))
    else:
        yield ".".join(path), space, value


@settings(max_examples=25, deadline=None)
@given(nested, st.sampled_from([1, 3]))
def test_every_part_arrives_in_its_shape_and_scaled_by_its_own_bounds(space, frame_stack):
    task = task_of(space, frame_stack=frame_stack)
    copies = EnvironmentCopies(task, 1, 3)
    environment = Sampled(space)
    first, _ = environment.reset(seed=0)
    observed = [first, *(environment.step(0)[0] for _ in range(2))]
    flat = np.concatenate([spaces.flatten(space, seen) for seen in observed[3 - frame_stack :]])
    assert copies.reset().shape == (1, len(flat)) == (1, *task.spec.observation_shape)
    specs = part_specs("robot", task.spec)
    taken = part_layers(task, dict.fromkeys(specs))
    frames = [list(leaves(space, seen)) for seen in observed[3 - frame_stack :]]
    assert [name for name, _, _ in frames[0]] == list(specs)
    for position, (name, part, _) in enumerate(frames[0]):
        arrays = [np.asarray(frame[position][2], np.float64) for frame in frames]
        if not isinstance(part, spaces.Box):
            arrays = [spaces.flatten(part, frame[position][2]).astype(np.float64) for frame in frames]
        arrays = [np.atleast_1d(array) for array in arrays]
        is_matrix = arrays[0].ndim == 2 and frame_stack > 1
        expected = np.stack(arrays, -1) if is_matrix else np.concatenate(arrays, -1)
        is_scaled = isinstance(part, spaces.Box) and (
            part.dtype.kind in "iu" or (part.high.max() > 1 and part.shape[2:])
        )
        if is_scaled:
            expected = (expected - float(part.low.min())) / (float(part.high.max()) - float(part.low.min()))
        value = tf.constant(flat[None].astype(task.spec.observation_dtype))
        for layer in taken[name]:
            value = layer(value)
        assert value.shape[1:] == specs[name].observation_shape
        np.testing.assert_allclose(value[0], expected, rtol=1e-6, atol=1e-6, err_msg=name)
        assert taken[name][0].compute_output_shape((None, len(flat))) == (None, *specs[name].observation_shape)
    assert mtq.Task.from_config(task.get_config()).spec.parts == task.spec.parts


@pytest.mark.parametrize("frame_stack", [pytest.param(1, marks=pytest.mark.thorough), 2])
def test_a_network_with_named_encoders_is_trained_saved_and_exported(frame_stack, tmp_path):
    tasks = mtq.TaskSet([task_of(CELLS, frame_stack=frame_stack), task_of(CELLS, "other", frame_stack=frame_stack)])
    shared = minatar_cnn(4, 8)  # one convolution of both tasks
    encoders = {name: {"image": shared, "room": layers.Dense(2, name=f"{name}_room"), "speed": None} for name in tasks}
    network = shared_q_network(tasks, mlp([16]), encoders, seed=0)
    model = mtq.MultiTaskDQN(network, tasks)
    model.compile(keras.optimizers.Adam(1e-3), "huber", aggregator="normalized_sum", jit_compile=False)
    kernels = [weight for weight in network.trainable_variables if weight.path.endswith("conv_0/kernel")]
    assert [tuple(kernel.shape) for kernel in kernels] == [(3, 3, 3 * frame_stack, 4)]
    before = kernels[0].numpy()
    experience = mtq.Experience(model, warmup_steps=16, steps_per_update=1, seed=0)
    model.fit(experience.batches(8), steps_per_epoch=2, verbose=0)
    assert np.abs(kernels[0].numpy() - before).max() > 0
    observations = {
        name: tf.stack([spaces.flatten(CELLS, CELLS.sample()).astype(np.float32).repeat(frame_stack)] * 3)
        for name in tasks
    }
    alone = {name: model.paths[name](rows) for name, rows in observations.items()}
    for name, q_values in model.joint_q_values(list(tasks))(observations).items():
        np.testing.assert_allclose(q_values, alone[name], rtol=1e-5, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.tasks["robot"].spec.parts == tasks["robot"].spec.parts
    model.export(tmp_path / "1")
    signatures = tf.saved_model.load(tmp_path / "1").signatures
    for name, rows in observations.items():
        np.testing.assert_allclose(loaded.paths[name](rows), alone[name], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(signatures[name](observation=rows)["q_values"], alone[name], rtol=1e-5, atol=1e-5)
    assert mtq.evaluation.evaluate(model, episodes=1)["robot"].mean == 4.0


def test_the_seed_draws_the_weights_of_named_encoders():
    tasks = mtq.TaskSet([task_of(CELLS)])

    def weights(seed):
        encoders = {"robot": {"image": minatar_cnn(4, 8), "room": None, "speed": layers.Dense(5)}}
        return shared_q_network(tasks, mlp([16]), encoders, seed=seed).get_weights()

    for first, again in zip(weights(3), weights(3), strict=True):
        np.testing.assert_array_equal(first, again)
    assert any((a != b).any() for a, b in zip(weights(3), weights(4), strict=True))


NAMED = {"image": minatar_cnn(8, 32), "switch": None}


@pytest.mark.parametrize("encoders", [pytest.param(None, marks=pytest.mark.thorough), NAMED])
def test_what_only_image_and_vector_together_tell_is_learned(encoders):
    tasks = mtq.TaskSet([mtq.Task("lit_corner", LitCorner, discount=0.0)])
    given = encoders if encoders is None else {"lit_corner": encoders}
    model = mtq.MultiTaskDQN(shared_q_network(tasks, mlp([32]), given, seed=0), tasks)
    model.compile(keras.optimizers.Adam(3e-3), "huber", jit_compile=False)
    experience = mtq.Experience(model, warmup_steps=256, steps_per_update=1, exploration=0.5, seed=0)
    model.fit(experience.batches(32), steps_per_epoch=300, verbose=0)
    assert mtq.evaluation.evaluate(model, episodes=50)["lit_corner"].mean == 1.0  # 0.5 by one of the two alone


def test_the_default_encoders_of_a_dict():
    large = spaces.Dict({"eye": spaces.Box(0, 255, (40, 48, 3), np.uint8), "speed": SPEED})
    tasks = mtq.TaskSet([task_of(CELLS), task_of(large, "seeing"), mtq.Task("cart_pole", "CartPole-v1")])
    network = shared_q_network(tasks, mlp([16]), seed=0)
    assert [layer.name for layer in network.layers if isinstance(layer, keras.Sequential)] == [
        "robot_part_0_image_encoder",
        "seeing_part_0_eye_encoder",
        "backbone",
    ]
    assert network.get_layer("robot_encoder").units == network.get_layer("cart_pole_encoder").units
    assert network.get_layer("seeing_part_0_eye_encoder").get_layer("conv_2").filters == 64  # a nature_cnn


def test_vectors_in_a_dict_may_have_encoders_too():
    space = spaces.Dict({"room": spaces.Box(0, 9, (1,), np.int64), "speed": SPEED})
    tasks = mtq.TaskSet([task_of(space)])
    rooms = keras.Sequential([layers.Embedding(10, 4), layers.Flatten()])
    network = shared_q_network(tasks, mlp([8]), {"robot": {"room": rooms, "speed": None}}, seed=0)
    assert not [layer for layer in network.layers if "scaling" in layer.name]  # categories are not scaled
    assert network({"robot": tf.constant([[9.0, 0.0, 0.0, 0.0]])})["robot"].shape == (1, 3)
    plain = shared_q_network(tasks, mlp([8]), seed=0)
    assert [layer.name for layer in plain.layers if "scaling" in layer.name] == ["robot_scaling"]


@pytest.mark.parametrize("shape", [(4, 40, 48), (40, 48)])
def test_images_in_a_dict_are_moved_like_others(shape):
    tasks = mtq.TaskSet([task_of(spaces.Dict({"eye": spaces.Box(0, 255, shape, np.uint8), "speed": SPEED}))])
    network = shared_q_network(tasks, mlp([8]), {"robot": {"eye": nature_cnn(8), "speed": None}}, seed=0)
    assert network.get_layer("robot_part_0_eye_encoder").get_layer("conv_0").kernel.shape[2] == (
        4 if len(shape) == 3 else 1
    )


class Confident(Sampled):
    """Its image has colors that its space does not declare."""

    def step(self, action):
        seen, *others = super().step(action)
        return {**seen, "image": np.full_like(seen["image"], 200.0)}, *others


def test_a_float_image_in_a_dict_must_keep_its_bounds():
    space = spaces.Dict({"image": spaces.Box(0, 1, (5, 5, 1)), "speed": SPEED})
    copies = EnvironmentCopies(mtq.Task("robot", lambda: Confident(space)), 1, 0)
    copies.reset()
    with pytest.raises(ValueError, match=error("'robot'", "within the bounds", "Received: float32", "200")):
        copies.step(np.zeros(1, int))


REFUSED = {
    "an unknown part": ({"image": minatar_cnn(), "speed": None}, ("an entry for each part", "'room'", "Received")),
    "a part too many": (
        {"image": minatar_cnn(), "room": None, "speed": None, "lidar": None},
        ("an entry for each part", "Received", "lidar"),
    ),
    "an image as it is": (
        {"image": None, "room": None, "speed": None},
        ("encoder of 'image' of task 'robot' must return vectors", "minatar_cnn()"),
    ),
    "no layer": ({"image": minatar_cnn(), "room": 3, "speed": None}, ("encoder of 'room' of task 'robot'", "3")),
    "a vector in a convolution": ({"image": minatar_cnn(), "room": minatar_cnn(), "speed": None}, ("(4,)", "mlp")),
    "an image too small": ({"image": nature_cnn(), "room": None, "speed": None}, ("encoder of 'image' must take",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_encoders_that_do_not_fit_are_refused(case):
    encoders, message = REFUSED[case]
    with pytest.raises(ValueError, match=error(*message)):
        shared_q_network(mtq.TaskSet([task_of(CELLS)]), mlp([8]), {"robot": encoders})


def test_encoders_by_name_need_a_dict():
    tasks = mtq.TaskSet([mtq.Task("cart_pole", "CartPole-v1")])
    with pytest.raises(
        ValueError, match=error("encoders of task 'cart_pole'", "Received: a dict ['x']", "spaces.Dict")
    ):
        shared_q_network(tasks, mlp([8]), {"cart_pole": {"x": None}})


def test_shapes_that_determine_no_encoder_are_refused_with_the_remedy():
    space = spaces.Dict({"map": spaces.Box(0, 1, (3, 4), np.uint8), "speed": SPEED})
    tasks = mtq.TaskSet([task_of(space)])
    with pytest.raises(
        ValueError, match=error("'map' of task 'robot'", "(3, 4)", "encoders={'robot': {'map': '…', 'speed': '…'}, …}")
    ):
        shared_q_network(tasks, mlp([8]))
    network = shared_q_network(tasks, mlp([8]), {"robot": {"map": layers.Flatten(), "speed": None}})
    assert network.get_layer("robot_parts").output.shape == (None, 15)


def test_images_that_no_encoder_would_read_right_are_refused():
    first = spaces.Dict({"image": spaces.Box(0, 255, (4, 10, 10), np.uint8), "speed": SPEED})
    encoders = {"robot": {"image": minatar_cnn(), "speed": None}}
    with pytest.raises(ValueError, match=error("images [height, width, channels]", "(4, 10, 10)", "Permute")):
        shared_q_network(mtq.TaskSet([task_of(first)]), mlp([8]), encoders)
    with pytest.raises(ValueError, match=error("frame_stack of task 'robot', part 'image'", "channels last")):
        task_of(first, frame_stack=2)
    endless = spaces.Dict({"image": spaces.Box(0, np.inf, (5, 5, 1)), "speed": SPEED})
    with pytest.raises(ValueError, match=error("observation['image'], an image", "'robot'", "must have bounds")):
        task_of(endless)


def test_two_parts_of_one_name_are_refused():
    space = spaces.Dict({"a.b": SPEED, "a": spaces.Dict({"b": SPEED})})
    with pytest.raises(ValueError, match=error("different names", "a.b")):
        task_of(space)


def test_a_spec_with_many_bounds_has_a_short_text():
    assert len(repr(task_of(CELLS).spec)) < 500
    assert repr(TaskSpec((3,), "float32", None, 3)).startswith("TaskSpec(observation_shape=(3,), observation_dtype=")


@pytest.mark.parametrize(
    "parts",
    [[["image", [10]]], [["a", [367]], ["a", []]], [["a", [0, 5]]], [["a"]], "ab", [[3, [367]]], [["a", [366]]]],
)
def test_parts_in_a_file_that_do_not_fit_are_refused(parts):
    config = task_of(CELLS).get_config()
    config["spec"]["parts"] = parts
    with pytest.raises(ValueError, match=error("parts", "a list of names and shapes")):
        mtq.Task.from_config(config)


def test_a_part_does_not_lose_integers_in_half_precision():
    layer = ObservationPart(1, (2,), dtype="float16")
    assert layer(tf.constant([[0.0, 2049.0, 65_537.0]])).numpy().tolist() == [[2049.0, 65_537.0]]


@pytest.fixture(params=["mixed_bfloat16", "mixed_float16"])
def half_precision(request):
    keras.config.set_dtype_policy(request.param)
    yield
    keras.config.set_dtype_policy("float32")


def encoder_of_rooms(kind, dtype=None):
    embedding = layers.Embedding(3_000, 4, embeddings_initializer="glorot_normal", dtype=dtype, name="rooms")
    flatten = layers.Flatten(name="flat_rooms")
    if kind == "nested":
        return keras.Sequential([keras.Sequential([embedding], name="inner"), flatten], name="encoder_of_rooms")
    return keras.Sequential([embedding, flatten], name="encoder_of_rooms")


def rows_of(space, encoders, rooms):
    tasks = mtq.TaskSet([task_of(space)])
    network = shared_q_network(tasks, mtq.networks.mlp([8]), {"robot": encoders}, seed=0)
    size = tasks["robot"].spec.observation_shape[0]
    observations = np.zeros((len(rooms), size), np.float32)
    observations[:, 0] = rooms
    return np.asarray(network({"robot": tf.constant(observations)})["robot"], np.float32)


ROOM = spaces.Box(0, 2_999, (1,), np.int64)
IN_A_DICT = spaces.Dict({"room": ROOM, "speed": SPEED})


@pytest.mark.parametrize("kind", ["flat", "nested"])
def test_categories_arrive_as_they_are(kind):
    """Not scaled to [0, 1], where all but the last would be category 0."""
    rooms = [0, 3, 7, 2_998, 2_999]
    alone = rows_of(ROOM, encoder_of_rooms(kind), rooms)
    for rows in (alone, rows_of(IN_A_DICT, {"room": encoder_of_rooms(kind), "speed": None}, rooms)):
        assert len(np.unique(rows, axis=0)) == len(rooms)


@pytest.mark.parametrize("kind", ["flat", "nested"])
def test_categories_that_half_precision_would_round_are_refused(half_precision, kind):
    for dtype in (None, "float32") if kind == "nested" else (None,):
        for space, in_part in ((ROOM, False), (IN_A_DICT, True)):
            encoder = encoder_of_rooms(kind, dtype)
            with pytest.raises(ValueError, match=error("'rooms'", "as categories", "2999", "dtype='float32'")):
                rows_of(space, {"room": encoder, "speed": None} if in_part else encoder, [0])


def test_the_remedy_for_categories_in_half_precision_works(half_precision):
    rooms = [256, 257, 2_048, 2_049, 2_998, 2_999]
    for space, in_part in ((ROOM, False), (IN_A_DICT, True)):
        encoder = encoder_of_rooms("flat", "float32")
        rows = rows_of(space, {"room": encoder, "speed": None} if in_part else encoder, rooms)
        assert len(np.unique(rows, axis=0)) == len(rooms)


def test_few_categories_are_exact_in_half_precision(half_precision):
    few = spaces.Box(0, 255, (1,), np.int64)
    rows = rows_of(few, encoder_of_rooms("flat"), list(range(250, 256)))
    assert len(np.unique(rows, axis=0)) == 6


def test_an_embedding_of_positions_does_not_stop_the_scaling_of_an_image():
    class Positions(layers.Layer):
        def __init__(self):
            super().__init__(name="positions")
            self.positions = layers.Embedding(360, 2)

        def build(self, input_shape):
            self.positions.build(None)

        def call(self, images):
            pixels = keras.ops.reshape(images, (-1, 360))
            return pixels + self.positions(keras.ops.arange(360))[:, 0]

    tasks = mtq.TaskSet([task_of(IMAGE)])
    network = shared_q_network(tasks, mlp([8]), {"robot": Positions()}, seed=0)
    assert "robot_scaling" in [layer.name for layer in network.layers]


def test_bins_of_numbers_receive_them_unscaled():
    tasks = mtq.TaskSet([task_of(spaces.Box(0, 4, (1,), np.int64))])
    encoder = keras.Sequential([layers.Discretization([1.5, 2.5, 3.5], output_mode="one_hot"), layers.Flatten()])
    network = shared_q_network(tasks, mlp([8]), {"robot": encoder}, seed=0)
    rows = np.asarray(network({"robot": tf.constant([[1.0], [2.0], [3.0], [4.0]])})["robot"])
    assert len(np.unique(rows, axis=0)) == 4


@pytest.mark.parametrize("keys", [("左", "右"), ("a-b", "a_b"), ("observation", "backbone")])
def test_parts_may_have_any_names(keys, tmp_path):
    tasks = mtq.TaskSet([task_of(spaces.Dict(dict.fromkeys(keys, IMAGE)))])
    encoders = {"robot": dict(zip(tasks["robot"].spec.part_names, (minatar_cnn(2, 4), minatar_cnn(2, 4)), strict=True))}
    model = mtq.MultiTaskDQN(shared_q_network(tasks, mlp([8]), encoders, seed=0), tasks)
    model.save(tmp_path / "model.keras")
    rows = tf.ones([2, *tasks["robot"].spec.observation_shape])
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.paths["robot"](rows), model.paths["robot"](rows))


def test_names_of_tasks_and_parts_that_join_to_one():
    tasks = mtq.TaskSet([task_of(spaces.Dict({"b_c": IMAGE}), "a"), task_of(spaces.Dict({"c": IMAGE}), "a_b")])
    assert shared_q_network(tasks, mlp([8]), seed=0).count_params()


def test_a_trained_backbone_encodes_the_images_of_another_network():
    first = shared_q_network(mtq.TaskSet([task_of(IMAGE)]), minatar_cnn(4, 8), seed=0)
    trained = first.get_layer("backbone")
    encoders = {"robot": {"image": trained, "room": None, "speed": None}}
    second = shared_q_network(mtq.TaskSet([task_of(CELLS)]), mlp([8]), encoders, seed=1)
    assert first.get_layer("backbone") is trained
    kernels = [weight for weight in second.trainable_variables if tuple(weight.shape) == (3, 3, 3, 4)]
    assert kernels == [trained.get_layer("conv_0").kernel]
    with pytest.raises(ValueError, match=error("encoder of task 'robot' must not be the backbone")):
        shared_q_network(mtq.TaskSet([task_of(CELLS)]), trained, encoders)


def test_an_encoder_after_the_parts():
    tasks = mtq.TaskSet([task_of(CELLS), mtq.Task("cart_pole", "CartPole-v1")])
    parts = {"image": minatar_cnn(4, 8), "room": None, "speed": None}
    encoders = {"robot": (parts, layers.Dense(6, name="joined")), "cart_pole": layers.Dense(6, name="alone")}
    network = shared_q_network(tasks, mlp([8]), encoders, seed=0)
    assert network.get_layer("joined").kernel.shape == (15, 6)


@pytest.mark.parametrize("space", [CELLS, spaces.Dict({"eye": spaces.Box(0, 255, (40, 48, 3), np.uint8)})])
def test_a_study_sees_the_images_of_a_dict(space):
    from mtq.study.design.network import default_network

    tasks = mtq.TaskSet([task_of(space), mtq.Task("cart_pole", "CartPole-v1")])
    arms = [mtq.study.Arm("shared"), mtq.study.Arm("wide", width=2.0)]
    kernels = [
        [weight.shape for weight in default_network(tasks, arm).trainable_variables if len(weight.shape) == 4]
        for arm in arms
    ]
    assert len(kernels[0]) == (1 if space is CELLS else 3)
    assert kernels[0] != kernels[1] or space is not CELLS
    counts = [default_network(tasks, arm).count_params() for arm in arms]
    assert counts[1] > 1.5 * counts[0]

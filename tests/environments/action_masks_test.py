"""Masks that environments return wrongly, and actions that they do not allow."""

import numpy as np
import pytest

import mtq
from mtq.environments import EnvironmentCopies, check_task, make_copies
from mtq.errors import InvalidAnswerError
from tests.messages import error
from tests.toy_environments import Masked, MaskedDict, MaskedDynamics, legal_in


def later(value, after=3, base=Masked):
    """An environment whose mask is another value from some answer on."""

    class Later(base):
        answers = 0

        def mask(self):
            return super().mask()

        def answer(self):
            type(self).answers += 1
            observation, info = super().answer()
            if type(self).answers <= after:
                return observation, info
            holder = info if base is Masked else observation
            if value is None:
                del holder["action_mask"]
            else:
                holder["action_mask"] = value
            return observation, info

    return Later


WRONG = {
    "missing": (
        None,
        ["must return 'action_mask' from every", "Received: only []", "action_mask=False"],
    ),
    "length": (
        np.ones(4),
        ["must be an array with one entry for each of the 30", "Received: an array of shape (4,)"],
    ),
    "values": (np.arange(30), ["must be an array of 0 (illegal) and 1 (legal)", "Received: the values [0, 1, 2"]),
    "fraction": (np.full(30, 0.5), ["must be an array of 0 (illegal) and 1 (legal)", "Received: the values [0.5]"]),
    "text": ("all", ["must be an array with one entry", "Received: no array of numbers"]),
    "ragged": ([[1], [1, 0]], ["must be an array with one entry", "Received: no array of numbers"]),
    "empty": (
        np.zeros(30),
        ["must allow an action in every state except", "Received:", "without a legal"],
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_masks(wrong):
    value, message = WRONG[wrong]
    task = mtq.Task("game", later(value))
    with pytest.raises(InvalidAnswerError, match=error("task 'game'", *message)):
        check_task(task)


def test_a_dict_without_the_mask():
    with pytest.raises(InvalidAnswerError, match=error("'game' must return 'action_mask'", "Received: only []")):
        check_task(mtq.Task("game", later(None, base=MaskedDict)))


def test_masks_that_appear_later():
    class Appears(Masked):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=seed)[0], {}

    task = mtq.Task("game", Appears)
    assert not task.spec.has_action_mask
    copies = EnvironmentCopies(task, 1, 0)
    copies.reset()
    action = np.flatnonzero(copies._environments[0].unwrapped.mask())[:1]
    with pytest.raises(InvalidAnswerError, match=error("'game' must return 'action_mask'", "never", "from step")):
        copies.step(action)


def test_an_empty_mask_at_a_terminal_but_not_at_a_truncation():
    class Ends(Masked):
        by = "terminal"

        def step(self, action):
            observation, reward, _, _, info = super().step(action)
            info["action_mask"] = np.zeros(self.num_actions, bool)
            return observation, reward, self.by == "terminal", self.by != "terminal", info

    copies = EnvironmentCopies(mtq.Task("game", Ends), 2, 0)
    _, mask = copies.reset()
    step = copies.step(mask.argmax(axis=1))
    assert not step.next_observation[1].any()
    assert step.observation[1].any(axis=1).all()
    Ends.by = "truncation"
    with pytest.raises(InvalidAnswerError, match=error("'game' must allow an action", "from step")):
        copies.step(step.observation[1].argmax(axis=1))


@pytest.mark.parametrize("kind", [Masked, MaskedDict, MaskedDynamics])
def test_illegal_actions_are_refused(kind):
    copies = make_copies(mtq.Task("game", kind), 2, 0, compiled=False)
    _, mask = copies.reset()
    actions = mask.argmax(axis=1)
    actions[1] = np.flatnonzero(~mask[1])[0]
    with pytest.raises(ValueError, match=error(f"'game' must be legal. Received: {actions[1]} where", "by the mask")):
        copies.step(actions)


def test_what_was_returned_is_not_overwritten():
    class Reused(Masked):
        def __init__(self):
            super().__init__()
            self.array = np.ones(self.num_actions, np.int8)

        def answer(self):
            self.array[:] = self.mask()
            return self.observe(), {"action_mask": self.array}

    copies = EnvironmentCopies(mtq.Task("game", Reused), 3, 0)
    pairs = [copies.reset()]
    for _ in range(50):
        step = copies.step(pairs[-1][1].argmax(axis=1))
        pairs += [step.next_observation, step.observation]
        pairs.append(copies.restart())
    for observation, mask in pairs:
        for (state, _), legal in zip(observation, mask, strict=True):
            np.testing.assert_array_equal(legal, legal_in(int(state), 30) & (state < Masked.terminal))


def test_only_some_copies_are_stepped():
    copies = EnvironmentCopies(mtq.Task("game", Masked), 2, 0)
    _, mask = copies.reset()
    step = copies.step(np.array([mask[0].argmax(), np.flatnonzero(~mask[1])[0]]), only=np.array([True, False]))
    assert step.observation[1][1].all()

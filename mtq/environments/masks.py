"""Checks the masks of legal actions that environments return, and the actions that are taken."""

import warnings
from typing import Any

import numpy as np

from mtq.environments.ranges import shortened
from mtq.errors import InvalidAnswerError
from mtq.tasks.action_masks import ACTION_MASK, has_mask

_warned: set[str] = set()  # the tasks that have been warned of


class ActionMasks:
    """Reads the masks that the copies of one task's environment in Python return.

    Args:
        name: The task's name, for messages.
        num_actions: The number of actions A.
    """

    def __init__(self, name: str, num_actions: int) -> None:
        self._name, self._num_actions = name, num_actions

    def read(self, info: dict[str, Any], call: str, is_acted_on: bool = True) -> np.ndarray:
        """Reads the mask of an info.

        Args:
            info: The info.
            call: The name of the call that returned it, `"reset"` or `"step"`.
            is_acted_on: Whether the state is acted on or bootstrapped from: False only at a true terminal, where there
                need not be a legal action.

        Returns:
            The mask, `[A]` bool.

        Raises:
            InvalidAnswerError: There is no mask, it has another length or other values than 0 and 1, or no action is
                legal.
        """
        if not has_mask(info):
            raise InvalidAnswerError(
                f"The environment of task '{self._name}' must return '{ACTION_MASK}' from every reset and step, "
                f"because its first reset returned one. Received: only {shortened(sorted(map(str, info)))} from {call}."
                " Return a mask always, or pass action_mask=False to mtq.Task."
            )
        try:
            mask = np.asarray(info[ACTION_MASK])
        except (ValueError, TypeError):
            mask = np.asarray(None)
        if mask.shape != (self._num_actions,) or mask.dtype.kind not in "biuf":
            found = "no array of numbers" if mask.dtype.kind not in "biuf" else f"an array of shape {mask.shape}"
            raise self._wrong(f"with one entry for each of the {self._num_actions} actions", f"{found} from {call}")
        if mask.dtype.kind != "b" and not ((mask == 0) | (mask == 1)).all():
            values = shortened(np.unique(mask).tolist())
            raise self._wrong("of 0 (illegal) and 1 (legal)", f"the values {values} from {call}")
        legal = mask != 0
        if is_acted_on and not legal.any():
            raise no_legal_action(self._name, f"from {call}")
        return legal

    def _wrong(self, must: str, received: str) -> InvalidAnswerError:
        return InvalidAnswerError(
            f"'{ACTION_MASK}' of the environment of task '{self._name}' must be an array {must}. Received: {received}. "
            "Fix the mask, or pass action_mask=False to mtq.Task."
        )


def no_legal_action(name: str, origin: str = "") -> InvalidAnswerError:
    """Returns the error for a state that must be acted on, but in which no action is legal.

    Args:
        name: The task's name.
        origin: Where the mask comes from, such as `"from step"`; empty for dynamics.
    """
    whose = "The environment" if origin else "The dynamics"
    return InvalidAnswerError(
        f"{whose} of task '{name}' must allow an action in every state except a true terminal. Received: "
        f"'{ACTION_MASK}' without a legal action{origin and f' {origin}'}. Fix the mask, or let step terminate the "
        "episode there."
    )


def check_legal(name: str, mask: np.ndarray, actions: np.ndarray, only: np.ndarray | None = None) -> None:
    """Raises a ValueError if an action is illegal.

    Args:
        name: The task's name.
        mask: The masks of the copies, `[N, A]` bool.
        actions: The actions, `[N]`.
        only: The mask of the copies that are stepped, `[N]` bool; None for all.
    """
    actions = np.asarray(actions)
    are_known = (actions >= 0) & (actions < mask.shape[1])
    is_legal = are_known & mask[np.arange(len(mask)), np.where(are_known, actions, 0)]
    if not (is_legal if only is None else is_legal | ~only).all():
        wrong = int(np.flatnonzero(~is_legal if only is None else ~is_legal & only)[0])
        raise ValueError(
            f"The actions of task '{name}' must be legal. Received: {int(actions[wrong])} where the legal actions are "
            f"{shortened(np.flatnonzero(mask[wrong]).tolist())}. Select an action by the mask, the second of the pair "
            "(observation, action_mask) that policies of this task receive; or pass action_mask=False to mtq.Task."
        )


def warn_of_unused_masks(name: str) -> None:
    """Warns once that an environment returns masks which its task does not use.

    This is so for tasks in files of earlier versions, and if mtq does not find the key in the environment's code.

    Args:
        name: The task's name.
    """
    if name not in _warned:
        _warned.add(name)
        warnings.warn(
            f"The environment of task '{name}' returns masks of legal actions, which the task does not use: illegal "
            "actions are taken and bootstrapped from. Pass action_mask=True to mtq.Task to use them, or False.",
            stacklevel=2,
        )


def check_no_mask(name: str, info: dict[str, Any], call: str) -> None:
    """Raises an InvalidAnswerError if an environment returns a mask although its first reset did not.

    Args:
        name: The task's name.
        info: The info.
        call: The name of the call that returned it.
    """
    if has_mask(info):
        raise InvalidAnswerError(
            f"The environment of task '{name}' must return '{ACTION_MASK}' from every reset and step, or never. "
            f"Received: one from {call}, although its first reset returned none. Return a mask always, or pass "
            "action_mask=False to mtq.Task."
        )

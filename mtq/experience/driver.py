"""Drivers with tf-agents' interface, which step the tasks' environments and pass each step to observers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mtq.environments.autoreset import AutoresetEnvironment
from mtq.environments.errors import kept
from mtq.environments.gymnasium_environment import step_together
from mtq.environments.masks import check_legal
from mtq.experience.memory import Memory, with_fields
from mtq.experience.policy import EpsilonGreedyPolicy
from mtq.experience.q_model import QValues
from mtq.interfaces import Driver, TFPolicy, TimeStep
from mtq.tasks.action_masks import split_observation

Observer = Callable[[Memory], object]


class StepDriver(Driver):
    """Steps all N copies of one task's environment at once, so that every step yields N transitions.

    tf-agents' `DynamicStepDriver` also stores the step from the end of one episode to the start of the next. That step
    is not a transition, so the number of transitions per update would not be exact.

    Args:
        environment: The environment, with N copies.
        policy: The policy that selects actions. If it has a method `reset(seed)`, it is called when the experience is
            reset. If it has a method `state()`, which returns variables, checkpoints contain them.
        observers: The functions that are called with the `Memory` of `[N, …]` of every step.
    """

    def __init__(self, environment: AutoresetEnvironment, policy: TFPolicy, observers: Sequence[Observer]) -> None:
        super().__init__(environment, policy, observers)
        first = environment.reset()
        self._reward, self._discount = first.reward, first.discount  # constant, because no policy of mtq uses them
        current = first.step_type, *tf.nest.flatten(first.observation)
        self._current = tuple(tf.Variable(tensor, trainable=False) for tensor in current)

    def reset(self, environment_seed: int, policy_seed: int) -> None:
        """Starts again with other random numbers.

        Args:
            environment_seed: The seed of the environment.
            policy_seed: The seed of the policy.
        """
        self.env.reseed(environment_seed)
        if hasattr(self.policy, "reset"):
            self.policy.reset(policy_seed)
        self.write(self.env.reset())

    def state(self) -> list[tf.Variable]:
        """Returns the variables that the next step depends on. Environments in Python have further state."""
        policy_state: list[Any] = self.policy.state() if hasattr(self.policy, "state") else []
        return [*self._current, *policy_state, *self.env.state()]

    def restart(self) -> None:
        """Starts a new episode in every copy."""
        self.write(self.env.restart())

    def read(self) -> TimeStep:
        """Returns the time step from which the next action is selected."""
        step_type, *observation = (tf.convert_to_tensor(variable) for variable in self._current)
        masked = tuple(observation) if len(observation) > 1 else observation[0]
        return TimeStep(step_type, self._reward, self._discount, masked)

    def write(self, current: TimeStep) -> None:
        """Sets the time step from which the next action is selected."""
        tensors = current.step_type, *tf.nest.flatten(current.observation)
        for variable, tensor in zip(self._current, tensors, strict=True):
            variable.assign(tensor)

    def run(self, num_steps: tf.Tensor | int = 1) -> None:  # type: ignore[override]
        """Steps all copies, in a graph or eagerly.

        Args:
            num_steps: The number of steps; each is N environment steps.
        """
        run_together([self], num_steps)


def run_together(
    drivers: Sequence[StepDriver], num_steps: tf.Tensor | int = 1, q_values: QValues | None = None
) -> None:
    """Takes joint steps. In each, every driver's policy selects its actions, then all environments are stepped.

    Args:
        drivers: The drivers of several tasks.
        num_steps: The number of joint steps.
        q_values: The function that computes the action values of all tasks, `{task: observation}` → `{task: q_values}`,
            with which mtq's ε-greedy policies select actions; None if each policy computes what it needs.
    """
    if isinstance(num_steps, int) and num_steps <= 1:  # a loop costs more than a single step
        if num_steps == 1:
            act_together(drivers, q_values)()
        return

    def step(done: tf.Tensor, current: list[TimeStep]) -> tuple[tf.Tensor, list[TimeStep]]:
        return done + 1, _step(drivers, current, _act(drivers, current, q_values))

    is_unfinished = lambda done, _: done < num_steps  # noqa: E731
    step = tf.autograph.experimental.do_not_convert(step)
    _, after = tf.while_loop(is_unfinished, step, [tf.constant(0), _read(drivers)], parallel_iterations=1)
    _write(drivers, after)


def act_together(drivers: Sequence[StepDriver], q_values: QValues | None = None) -> Callable[[], None]:
    """Selects the next actions of all drivers, without taking the step.

    Operations that do not depend on the step can then run concurrently with it.

    Args:
        drivers: The drivers of several tasks.
        q_values: The function that computes action values; see `run_together`.

    Returns:
        A function without arguments that takes the step.
    """
    current = _read(drivers)
    actions = _act(drivers, current, q_values)
    return lambda: _write(drivers, _step(drivers, current, actions))


def _read(drivers: Sequence[StepDriver]) -> list[TimeStep]:
    return [driver.read() for driver in drivers]


def _write(drivers: Sequence[StepDriver], current: list[TimeStep]) -> None:
    for driver, time_step in zip(drivers, current, strict=True):
        driver.write(time_step)


def _act(drivers: Sequence[StepDriver], current: list[TimeStep], q_values: QValues | None) -> list[tf.Tensor]:
    if q_values is None:
        return [_act_alone(driver, time_step) for driver, time_step in zip(drivers, current, strict=True)]
    policies: list[EpsilonGreedyPolicy] = [driver.policy for driver in drivers]
    names = [policy.task.name for policy in policies]
    observations, masks = zip(*(split_observation(time_step.observation) for time_step in current), strict=True)
    values = q_values(dict(zip(names, observations, strict=True)))
    return [
        policy.select(values[name], time_step.is_first(), mask)
        for policy, name, time_step, mask in zip(policies, names, current, masks, strict=True)
    ]


def _act_alone(driver: StepDriver, time_step: TimeStep) -> tf.Tensor:
    """Selects actions by a policy of the user's own, and checks that they are legal."""
    action = tf.cast(driver.policy.action(time_step).action, tf.int32)
    mask = split_observation(time_step.observation)[1]
    if mask is None:
        return action

    def check(legal: np.ndarray, chosen: np.ndarray) -> np.bool_:
        check_legal(driver.env.task_name, legal, chosen)
        return np.bool_(True)

    with tf.control_dependencies([tf.numpy_function(kept(check), [mask, action], tf.bool)]):
        return tf.identity(action)


def _step(drivers: Sequence[StepDriver], current: list[TimeStep], actions: list[tf.Tensor]) -> list[TimeStep]:
    """Steps all environments, those in Python with a single host call, and passes the steps to the observers."""
    results = step_together([driver.env for driver in drivers], actions)
    observed = []
    for driver, time_step, action, (ended, _) in zip(drivers, current, actions, results, strict=True):
        memory = _memory(time_step, action, ended)
        observed += [observer(memory) for observer in driver.observers]
    with tf.control_dependencies([output for output in tf.nest.flatten(observed) if tf.is_tensor(output)]):
        return tf.nest.map_structure(tf.identity, [current for _, current in results])


def _memory(time_step: TimeStep, action: tf.Tensor, ended: TimeStep) -> Memory:
    """Returns the step to store: a time step, the actions taken, and the time step that followed."""
    observation, mask = split_observation(time_step.observation)
    next_observation, next_mask = split_observation(ended.observation)
    memory = Memory(observation, action, ended.reward, ended.discount, next_observation, ended.is_last())
    return memory if mask is None else with_fields(memory, action_mask=mask, next_action_mask=next_mask)

"""Acting: drivers on tf-agents' interface that step tasks' environments and show observers what came of it."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from mtq.environments.autoreset import AutoresetEnvironment
from mtq.environments.gymnasium_environment import step_together
from mtq.experience.exploration import EpsilonGreedyPolicy
from mtq.experience.replay import Memory
from mtq.interfaces import Driver, TimeStep

Observer = Callable[[Memory], object]


class StepDriver(Driver):
    """Takes whole steps in all N copies of one task's environment: every step is N transitions, none is wasted.

    tf-agents' `DynamicStepDriver` also stores the step from one episode's end to the next one's start, which is not a
    transition, and so cannot hold a ratio of transitions to updates exactly.

    Args:
        environment: Of one task.
        policy: That acts in it.
        observers: Called with every step's `Memory`, `[N, …]`.
    """

    def __init__(
        self, environment: AutoresetEnvironment, policy: EpsilonGreedyPolicy, observers: Sequence[Observer]
    ) -> None:
        super().__init__(environment, policy, observers)
        first = environment.reset()
        self._reward, self._discount = first.reward, first.discount  # no policy looks at them
        self._at = tuple(tf.Variable(tensor, trainable=False) for tensor in (first.step_type, first.observation))

    def reset(self, environment_seed: int, policy_seed: int) -> None:
        """Begins anew, with other random numbers."""
        self.env.reseed(environment_seed)
        self.policy.reset(policy_seed)
        self.write(self.env.reset())

    def state(self) -> list[tf.Variable]:
        """What the next step depends on; of environments in Python it is not all."""
        return [*self._at, *self.policy.state(), *self.env.state()]

    def restart(self) -> None:
        """Begins a new episode in every copy."""
        self.write(self.env.restart())

    def read(self) -> TimeStep:
        """The time step to act on."""
        step_type, observation = self._at
        return TimeStep(
            tf.convert_to_tensor(step_type), self._reward, self._discount, tf.convert_to_tensor(observation)
        )

    def write(self, current: TimeStep) -> None:
        """Changes the time step to act on."""
        for variable, tensor in zip(self._at, (current.step_type, current.observation), strict=True):
            variable.assign(tensor)

    def run(self, num_steps: tf.Tensor | int = 1) -> None:  # type: ignore[override]
        """Takes steps in all copies, in a graph or eagerly.

        Args:
            num_steps: How many; each is N steps of the environment.
        """
        run_together([self], num_steps)


def run_together(drivers: Sequence[StepDriver], num_steps: tf.Tensor | int = 1) -> None:
    """Takes joint steps: in each, every driver's policy acts, then all environments are stepped.

    Args:
        drivers: Of one task each.
        num_steps: How many.
    """
    if isinstance(num_steps, int) and num_steps <= 1:  # a loop costs more than what is in it
        if num_steps == 1:
            act_together(drivers)()
        return

    def step(done: tf.Tensor, at: list[TimeStep]) -> tuple[tf.Tensor, list[TimeStep]]:
        return done + 1, _step(drivers, at, _act(drivers, at))

    going_on = lambda done, _: done < num_steps  # noqa: E731
    step = tf.autograph.experimental.do_not_convert(step)
    _, after = tf.while_loop(going_on, step, [tf.constant(0), _read(drivers)], parallel_iterations=1)
    _write(drivers, after)


def act_together(drivers: Sequence[StepDriver]) -> Callable[[], None]:
    """Lets every driver's policy act. The environments are stepped when the result is called.

    What does not depend on that step may be computed while it is taken.

    Args:
        drivers: Of one task each.
    """
    at = _read(drivers)
    actions = _act(drivers, at)
    return lambda: _write(drivers, _step(drivers, at, actions))


def _read(drivers: Sequence[StepDriver]) -> list[TimeStep]:
    return [one.read() for one in drivers]


def _write(drivers: Sequence[StepDriver], at: list[TimeStep]) -> None:
    for one, time_step in zip(drivers, at, strict=True):
        one.write(time_step)


def _act(drivers: Sequence[StepDriver], at: list[TimeStep]) -> list[tf.Tensor]:
    return [one.policy.action(time_step).action for one, time_step in zip(drivers, at, strict=True)]


def _step(drivers: Sequence[StepDriver], at: list[TimeStep], actions: list[tf.Tensor]) -> list[TimeStep]:
    """Steps all environments, those that live in Python with one crossing, and shows the observers what came of it."""
    results = step_together([one.env for one in drivers], actions)
    seen = []
    for one, time_step, action, (ended, _) in zip(drivers, at, actions, results, strict=True):
        memory = Memory(time_step.observation, action, ended.reward, ended.discount, ended.observation, ended.is_last())
        seen += [observer(memory) for observer in one.observers]
    with tf.control_dependencies([output for output in tf.nest.flatten(seen) if tf.is_tensor(output)]):
        return tf.nest.map_structure(tf.identity, [current for _, current in results])

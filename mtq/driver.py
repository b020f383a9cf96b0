"""Acting: a driver on tf-agents' interface that steps one task's environments and shows observers what came of it."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from mtq.environments.autoreset import AutoresetEnvironment
from mtq.environments.tf_agents_parts import driver, time_steps
from mtq.exploration import EpsilonGreedyPolicy
from mtq.replay import Memory

Observer = Callable[[Memory], object]


class StepDriver(driver.Driver):
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
        self._time_step = tf.nest.map_structure(lambda tensor: tf.Variable(tensor, trainable=False), first)

    def run(self, num_steps: tf.Tensor | int = 1) -> None:  # type: ignore[override]
        """Takes steps in all copies, in a graph or eagerly.

        Args:
            num_steps: How many; each is N steps of the environment.
        """
        done = tf.constant(0)
        time_step = tf.nest.map_structure(tf.convert_to_tensor, self._time_step)
        step = tf.autograph.experimental.do_not_convert(self._step)
        _, time_step = tf.while_loop(lambda done, _: done < num_steps, step, [done, time_step], parallel_iterations=1)
        tf.nest.map_structure(lambda variable, tensor: variable.assign(tensor), self._time_step, time_step)

    def _step(self, done: tf.Tensor, time_step: time_steps.TimeStep) -> tuple[tf.Tensor, time_steps.TimeStep]:
        action = self.policy.action(time_step).action
        ended, current = self.env.step_and_restart(action)
        memory = Memory(time_step.observation, action, ended.reward, ended.discount, ended.observation, ended.is_last())
        seen = [observer(memory) for observer in self.observers]
        with tf.control_dependencies([output for output in tf.nest.flatten(seen) if tf.is_tensor(output)]):
            return done + 1, current

"""tf-agents' `DqnAgent` on CartPole, as in its tutorials, and with one graph around the whole loop."""

from typing import Any

import tensorflow as tf

from benchmarks.systems.work import Work
from mtq.interfaces.tf_agents_import import with_legacy_keras

with with_legacy_keras():  # tf-agents' networks are of Keras 2
    import tf_keras
    from tf_agents.agents.dqn import dqn_agent
    from tf_agents.drivers import dynamic_step_driver
    from tf_agents.environments import batched_py_environment, suite_gym, tf_py_environment
    from tf_agents.networks import q_network
    from tf_agents.policies import random_tf_policy
    from tf_agents.replay_buffers import tf_uniform_replay_buffer
    from tf_agents.utils import common


class TfAgentsTutorial:
    """tf-agents as in its tutorials: `driver.run` and `agent.train` are tf.functions, called in turn from Python."""

    round_to = 1

    @with_legacy_keras()
    def __init__(self, work: Work) -> None:
        self.work = work
        environments = [suite_gym.load("CartPole-v1") for _ in range(work.num_envs)]
        batched = batched_py_environment.BatchedPyEnvironment(environments, multithreading=False)
        self.environment = tf_py_environment.TFPyEnvironment(batched)
        network = q_network.QNetwork(
            self.environment.observation_spec(),
            self.environment.action_spec(),
            fc_layer_params=(work.hidden, work.hidden),
        )
        self.agent = dqn_agent.DqnAgent(
            self.environment.time_step_spec(),
            self.environment.action_spec(),
            q_network=network,
            optimizer=tf_keras.optimizers.Adam(work.learning_rate),
            epsilon_greedy=work.epsilon,
            target_update_period=work.target_update_period,
            train_step_counter=tf.Variable(0, dtype=tf.int64, trainable=False),
            td_errors_loss_fn=common.element_wise_huber_loss,
            gamma=0.99,
        )
        self.agent.initialize()
        self.replay = tf_uniform_replay_buffer.TFUniformReplayBuffer(
            self.agent.collect_data_spec, batch_size=work.num_envs, max_length=work.replay_capacity // work.num_envs
        )
        self.steps = 0
        random = random_tf_policy.RandomTFPolicy(self.environment.time_step_spec(), self.environment.action_spec())
        self._driver(random, work.warmup_steps).run()
        self.steps += work.warmup_steps
        self.driver = self._driver(self.agent.collect_policy, work.num_envs)
        dataset = self.replay.as_dataset(sample_batch_size=work.batch_size, num_steps=2, num_parallel_calls=2)
        self.batches = iter(dataset.prefetch(2))
        self.prepare()

    def prepare(self) -> None:
        """Creates the functions of the two graphs."""
        self._run, self._train = common.function(self.driver.run), common.function(self.agent.train)

    @with_legacy_keras()
    def run(self, updates: int) -> None:
        """Runs the training loop, and checks the number of updates."""
        before = int(self.agent.train_step_counter)
        self.loop(updates)
        self.steps += updates * self.work.num_envs
        made = int(self.agent.train_step_counter) - before
        if made != updates:
            raise RuntimeError(f"tf-agents must make {updates} updates. It made: {made}.")

    def loop(self, updates: int) -> None:
        """Collects and trains in turn."""
        for _ in range(updates):
            self._run()
            batch, _ = next(self.batches)
            self._train(batch)

    def env_steps(self) -> int:
        """Returns the number of environment steps, which follows from the updates: the driver does not count them."""
        return self.steps

    def _driver(self, policy: Any, num_steps: int) -> Any:
        return dynamic_step_driver.DynamicStepDriver(
            self.environment, policy, observers=[self.replay.add_batch], num_steps=num_steps
        )


class TfAgentsOneGraph(TfAgentsTutorial):
    """tf-agents with driver, dataset and training in one loop within one tf.function: the fastest way found."""

    def prepare(self) -> None:
        """Creates the function of the one graph."""
        self.round_to = self.work.steps_per_execution

        @tf.function
        def steps() -> None:
            for _ in tf.range(self.work.steps_per_execution):
                self.driver.run()
                batch, _ = next(self.batches)
                self.agent.train(batch)

        self._steps = steps

    def loop(self, updates: int) -> None:
        """Runs the graph as often as the updates need."""
        for _ in range(updates // self.round_to):
            self._steps()

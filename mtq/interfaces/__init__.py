"""The interfaces for acting and storing: time steps, policies, environments, drivers and replay buffers.

If tf-agents can be imported, they are its own classes, so that its environments, policies, drivers and replay buffers
work together with mtq's. Otherwise they are the classes of `mtq.interfaces.own`.
"""

from typing import TYPE_CHECKING

from mtq.interfaces.tf_agents_import import import_tf_agents

_tf_agents = import_tf_agents()
HAS_TF_AGENTS = _tf_agents is not None

if TYPE_CHECKING or _tf_agents is None:
    from mtq.interfaces.own import (
        BoundedTensorSpec,
        Driver,
        PolicyStep,
        ReplayBuffer,
        StepType,
        TFEnvironment,
        TFPolicy,
        TimeStep,
        restart,
        time_step_spec,
    )
else:
    BoundedTensorSpec = _tf_agents.specs.tensor_spec.BoundedTensorSpec
    Driver = _tf_agents.drivers.driver.Driver
    PolicyStep = _tf_agents.trajectories.policy_step.PolicyStep
    ReplayBuffer = _tf_agents.replay_buffers.replay_buffer.ReplayBuffer
    StepType = _tf_agents.trajectories.time_step.StepType
    TFEnvironment = _tf_agents.environments.tf_environment.TFEnvironment
    TFPolicy = _tf_agents.policies.tf_policy.TFPolicy
    TimeStep = _tf_agents.trajectories.time_step.TimeStep
    restart = _tf_agents.trajectories.time_step.restart
    time_step_spec = _tf_agents.trajectories.time_step.time_step_spec

__all__ = [
    "HAS_TF_AGENTS",
    "BoundedTensorSpec",
    "Driver",
    "PolicyStep",
    "ReplayBuffer",
    "StepType",
    "TFEnvironment",
    "TFPolicy",
    "TimeStep",
    "restart",
    "time_step_spec",
]

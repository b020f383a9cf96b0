"""The equations of Q-learning as pure functions of tensors.

The names of variables give their time: `q_tm1` are the action values at the earlier step, `a_tm1` is the action taken
there, `r_t` and `discount_t` are the reward and the discount that followed, and `q_t` are the action values at the
later step. The discount is 0 at a true terminal, so that nothing is bootstrapped past it, and γ otherwise, also at a
time limit. B is the batch size, A the number of actions, N the number of atoms, bins or quantiles of a distribution of
returns.
"""

from mtq.named_tuples import field_of
from mtq.value_learning.distributions import (
    categorical_mean,
    categorical_projection,
    cross_entropies,
    histogram_probabilities,
    quantile_huber,
    select_distributions,
)
from mtq.value_learning.munchausen import munchausen_bonus, scaled_log_policy
from mtq.value_learning.random_actions import random_actions
from mtq.value_learning.targets import (
    double_q_targets,
    greedy_actions,
    huber,
    legal_values,
    n_step_returns,
    q_targets,
    select_actions,
    squared,
    td_errors,
)
from mtq.value_learning.transition import (
    OPTIONAL_FIELDS,
    Transition,
    WeightedTransition,
    is_transition,
    with_fields,
)

__all__ = [
    "OPTIONAL_FIELDS",
    "Transition",
    "WeightedTransition",
    "categorical_mean",
    "categorical_projection",
    "cross_entropies",
    "double_q_targets",
    "field_of",
    "greedy_actions",
    "histogram_probabilities",
    "huber",
    "is_transition",
    "legal_values",
    "munchausen_bonus",
    "n_step_returns",
    "q_targets",
    "quantile_huber",
    "random_actions",
    "scaled_log_policy",
    "select_actions",
    "select_distributions",
    "squared",
    "td_errors",
    "with_fields",
]

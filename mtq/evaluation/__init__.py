"""Evaluation of policies, greedy or random, over whole episodes or over a fixed number of steps."""

from mtq.evaluation.evaluator import EpisodeReturns, Evaluator, evaluate, evaluate_random, greedy_policy, task_seed
from mtq.evaluation.playing import MAX_STEPS, play
from mtq.evaluation.recording import record, record_policy
from mtq.evaluation.step_evaluator import StepEvaluator

__all__ = [
    "MAX_STEPS",
    "EpisodeReturns",
    "Evaluator",
    "StepEvaluator",
    "evaluate",
    "evaluate_random",
    "greedy_policy",
    "play",
    "record",
    "record_policy",
    "task_seed",
]

"""Evaluation: episodes, or a number of steps, played by a model or at random."""

from mtq.evaluation.evaluator import EpisodeReturns, Evaluator, evaluate, evaluate_random, greedy_policy
from mtq.evaluation.step_evaluator import StepEvaluator

__all__ = ["EpisodeReturns", "Evaluator", "StepEvaluator", "evaluate", "evaluate_random", "greedy_policy"]

"""Arguments of evaluations that cannot be honoured are refused by name."""

import gymnasium
import pytest

import mtq
from mtq.evaluation.evaluator import Evaluator
from mtq.evaluation.step_evaluator import StepEvaluator
from tests.toy_environments import Corridor

EVALUATORS = [Evaluator, StepEvaluator]


@pytest.mark.parametrize("kind", EVALUATORS)
def test_greedy_policy_needs_a_model(kind):
    with pytest.raises(ValueError, match=r"model of the evaluation must be a MultiTaskDQN .* Received: None"):
        kind(None, mtq.TaskSet([mtq.Task("corridor", Corridor)])).greedy()


@pytest.mark.parametrize("kind", EVALUATORS)
def test_tasks_are_needed_without_a_model(kind):
    with pytest.raises(ValueError, match=r"tasks of an evaluation must be a TaskSet\. Received: None"):
        kind(None)


@pytest.mark.parametrize("kind", EVALUATORS)
def test_tasks_must_have_the_models_shapes(kind, make_model):
    with pytest.raises(ValueError, match="Task 'counting' must have the shapes that the model was built for"):
        kind(make_model(), mtq.TaskSet([mtq.Task("counting", "in_graph/Chain")]))


@pytest.mark.parametrize("kind", EVALUATORS)
def test_actions_may_be_numbered_from_elsewhere(kind, make_model):
    class FromFive(Corridor):
        def __init__(self):
            super().__init__()
            self.action_space = gymnasium.spaces.Discrete(int(self.action_space.n), start=5)

    evaluator = kind(make_model(), mtq.TaskSet([mtq.Task("corridor", FromFive)]))
    assert evaluator.tasks["corridor"].spec.first_action == 5


@pytest.mark.parametrize("kind", EVALUATORS)
def test_tasks_must_be_the_models(kind, make_model):
    with pytest.raises(ValueError, match="of which it does not know 'other'"):
        kind(make_model(), mtq.TaskSet([mtq.Task("other", Corridor)]))

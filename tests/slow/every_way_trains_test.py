"""The classic suite is learnt with every aggregator and every weighting. Half a minute each: `make test-slow`."""

import numpy as np
import pytest

import mtq

pytestmark = pytest.mark.slow
WAYS = {
    **{name: {"aggregator": name} for name in mtq.aggregators.names()},
    **{name: {"loss_weights": name} for name in mtq.weightings.names()},
    "famo, upgrad": {"loss_weights": "famo", "aggregator": "upgrad"},
}


@pytest.mark.parametrize("options", [pytest.param(options, id=name) for name, options in WAYS.items()])
def test_the_summed_loss_of_the_classic_suite_falls(options):
    """Against one target network, for with a moving one losses may rise while tasks are learnt."""
    known = [task.get_config() for task in mtq.suites.classic().values()]
    tasks = mtq.TaskSet(  # of what is reachable only return_progress takes notice
        [mtq.Task.from_config({**config, "reference_return": config["reference_return"] or 1.0}) for config in known]
    )
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([32, 32]), seed=0)
    model = mtq.MultiTaskDQN(network, tasks, target_update_period=10**9)
    model.compile("adam", steps_per_execution=100, **options)
    experience = mtq.Experience(tasks, model, warmup_steps=500)
    callbacks = [mtq.callbacks.TrainingReturns(experience)]
    history = model.fit(experience.dataset(32), steps_per_epoch=200, epochs=8, verbose=0, callbacks=callbacks).history
    summed = np.sum([history[f"{task}/loss"] for task in tasks], axis=0)
    assert np.isfinite(summed).all()
    assert summed[-1] < 0.8 * summed[0]

"""A `tf.data.Dataset` of an experience's batches that remembers its experience through `map`, `take` and the like."""

import functools
import inspect
from typing import Any

import tensorflow as tf

from mtq.environments.errors import environment_errors


def of_experience(dataset: tf.data.Dataset, experience: Any) -> tf.data.Dataset:
    """Marks a dataset as holding the batches of an experience.

    Datasets derived from it by `map`, `take` and the like are marked too. A loop over it raises the exceptions of
    environments as they were raised there, and not as TensorFlow reports them.

    Args:
        dataset: The dataset, which is changed in place.
        experience: The `mtq.Experience` whose batches it holds.

    Returns:
        The same dataset.
    """
    dataset.__class__ = _of_experience(type(dataset))  # type: ignore[arg-type]
    dataset.experience = experience
    return dataset


def experiences_of(dataset: Any) -> list[Any]:
    """Finds the experiences whose batches a dataset holds, also below `zip`, `concatenate` and the like.

    Args:
        dataset: A dataset, or anything else.
    """
    found = [dataset.experience] if hasattr(dataset, "experience") else []
    inputs = dataset._inputs() if isinstance(dataset, tf.data.Dataset) and not found else []
    return found + [experience for one in inputs for experience in experiences_of(one)]


@functools.cache
def _of_experience(cls: Any) -> type:
    class OfExperience(cls):
        is_of_experience = True

        def __iter__(self) -> Any:
            iterator = super().__iter__()
            iterator.__class__ = _raising_again(type(iterator))  # type: ignore[arg-type]
            iterator.experience = self.experience
            return iterator

        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            if name.startswith("_") or not inspect.ismethod(value):
                return value

            @functools.wraps(value)
            def call(*args: Any, **kwargs: Any) -> Any:
                made = value(*args, **kwargs)
                is_unmarked = isinstance(made, tf.data.Dataset) and not hasattr(made, "is_of_experience")
                return of_experience(made, self.experience) if is_unmarked else made

            return call

    OfExperience.__name__ = cls.__name__
    return OfExperience


@functools.cache
def _raising_again(cls: Any) -> type:
    class RaisingAgain(cls):
        def __next__(self) -> Any:
            with environment_errors():
                batch = super().__next__()
            self.experience.check_schedules()
            return batch

        def get_next(self) -> Any:
            with environment_errors():
                batch = super().get_next()
            if tf.executing_eagerly():
                self.experience.check_schedules()
            return batch

    RaisingAgain.__name__ = cls.__name__
    return RaisingAgain

"""A `tf.data.Dataset` of an experience's batches that remembers its experience through `map`, `take` and the like."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from mtq.environments.errors import environment_errors
from mtq.keras_internals import input_datasets


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


def made_when_used(make: Callable[[], tf.data.Dataset], **known: Any) -> tf.data.Dataset:
    """Returns a dataset that is made when it is first used.

    Making a dataset means tracing how a batch is drawn, which `fit` does in its own graph, without the dataset.

    Args:
        make: A function that makes the dataset.
        known: Attributes that the dataset has before and after it is made.

    Returns:
        The dataset.
    """
    return _ToBeMade(make, known)


class _ToBeMade(tf.data.Dataset):
    """Turns into the dataset itself as soon as anything of it is used but the attributes that are known."""

    def __init__(self, make: Callable[[], tf.data.Dataset], known: dict[str, Any]) -> None:
        object.__getattribute__(self, "__dict__").update(known=known, make=make)

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__(self, "__dict__")
        if name == "__class__":
            return _ToBeMade
        if name in own["known"]:
            return own["known"][name]
        made, known = own["make"](), own["known"]
        own.clear()
        own.update({**made.__dict__, **known})
        object.__setattr__(self, "__class__", made.__class__)
        return getattr(self, name)

    def __iter__(self) -> Iterator[Any]:
        return self.__iter__()

    @property
    def _inputs(self) -> Any:
        return self._inputs

    @property
    def element_spec(self) -> Any:
        return self.element_spec


def experiences_of(dataset: Any) -> list[Any]:
    """Finds the experiences whose batches a dataset holds, also below `zip`, `concatenate` and the like.

    Args:
        dataset: A dataset, or anything else.
    """
    found = [dataset.experience] if hasattr(dataset, "experience") else []
    inputs = input_datasets(dataset) if isinstance(dataset, tf.data.Dataset) and not found else []
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

"""Training of a `MultiTaskDQN`: `fit`, `train_on_batch`, and the train functions that Keras calls in them."""

import contextlib
from collections.abc import Iterator
from typing import Any

from mtq.distribution.failure import worker_errors
from mtq.environments.errors import environment_errors
from mtq.experience.batches import Batches, read_by
from mtq.learning.default_callbacks import with_defaults
from mtq.learning.inference import Inference
from mtq.learning.train_function import TrainFunctions, check_batches, check_steps, endless, make_train_function
from mtq.learning.validation import as_tuples, check_validation
from mtq.trainer.keras_trainer import check_batch_arguments, defines_own_step, fit_arguments


class Training(Inference):
    """The methods of `MultiTaskDQN` by which Keras trains it.

    Attributes:
        is_in_step: Whether the first update of the `fit` has been prepared.
        gradient_log: The log of the tasks' gradients; None if nobody reads it.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._functions = TrainFunctions()
        self._batches: Batches | None = None  # what the train function draws from
        self.gradient_log: Any = None
        self.train_function: Any = None
        self.is_in_step = False
        self._xla: bool | str = "auto"

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Makes one update from one batch, like `keras.Model.train_on_batch`.

        Args:
            x: The batch, `{task: Transition}`.
            y: Not supported; must be None.
            sample_weight: Not supported; must be None.
            class_weight: Not supported; must be None.
            return_dict: Whether to return the logs as a dict instead of a list.

        Returns:
            The logs: a list in the order of `metrics_names`, or a dict.

        Raises:
            ValueError: An unsupported argument is given, or layers were frozen or unfrozen since `compile`.
        """
        check_batch_arguments(y, sample_weight, class_weight)
        self._trace_changed_settings()
        was_in_step = self.is_in_step  # of a fit whose callback calls this
        try:
            with self._training_on(None):
                return super().train_on_batch(x, return_dict=return_dict)
        finally:
            self.is_in_step = was_in_step

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Trains on batches, like `keras.Model.fit`.

        The progress bar shows each task's loss, and its return if a callback adds it to the logs. All other quantities
        are in the logs only.

        Args:
            x: The batches of an experience, or a dataset or generator of `{task: Transition}`.
            *args: Further arguments of `keras.Model.fit`.
            **kwargs: Further arguments of `keras.Model.fit`, such as `steps_per_epoch`, which endless batches need,
                `epochs` and `callbacks`.

        Returns:
            The `keras.callbacks.History` of the logs.

        Raises:
            ValueError: `steps_per_epoch` is missing or not a multiple of `steps_per_execution`, an environment returns
                invalid values, the batches come from another model's experience, or an argument is not supported.
            BrokenEnvironmentError: An environment raised an exception.
            NonFiniteLossError: A loss, a gradient norm or a weight is no longer finite. The message names it.
        """
        kwargs = fit_arguments(x, args, kwargs)
        verbose, callbacks = kwargs.pop("verbose", "auto"), kwargs.pop("callbacks", None)
        check_batches(x, self)
        if kwargs.get("validation_data") is not None:
            self._check_alone("fit with validation_data")
            check_validation(self, kwargs)
        self._trace_changed_settings()
        kwargs.update(check_steps(x, kwargs, self.steps_per_execution))
        kwargs.setdefault("shuffle", False)  # otherwise Keras warns that shuffle has no effect on a dataset
        telemetry = self._set_gradient_log(callbacks)
        batches = x if isinstance(x, Batches) and self.compiled and not self.run_eagerly else None
        if batches is not None:
            x = endless(self.distribute_strategy)  # not read: the train function draws batches itself
        else:
            x = x.as_dataset() if isinstance(x, Batches) else as_tuples(self, x, "fit")
        try:
            with (
                environment_errors(),
                worker_errors(self.distribute_strategy),
                self._training_on(batches),
                read_by(self),
            ):
                callbacks = with_defaults(callbacks, verbose, self, self._validated_at_times(kwargs))
                return super().fit(x, verbose=verbose, callbacks=callbacks, **kwargs)
        finally:
            self.is_in_step = False
            if telemetry is not None:
                telemetry.finish()

    @contextlib.contextmanager
    def _training_on(self, batches: Batches | None) -> Iterator[None]:
        """A context manager in which Keras calls the train function of certain batches.

        Args:
            batches: The batches of an experience; None for the train function of datasets and single batches.
        """
        before = self._batches, self.train_function
        self._batches, self.train_function = batches, self._functions.get(batches)
        try:
            yield
        finally:
            self._functions.keep(batches, self.train_function)
            self._batches, self.train_function = before

    def _trace_changed_settings(self) -> None:
        """Causes a new tracing if settings, such as `target_update_period`, were assigned since the last tracing."""
        changed = self.compiled_state.changed_settings() if self.compiled else []
        if changed:
            self._clear_functions()
        if "jit_compile" in changed:
            self._xla = bool(self.jit_compile)

    def _set_gradient_log(self, callbacks: Any) -> Any:
        """Sets the gradient log to that of the `GradientTelemetry` among the callbacks, and returns this callback."""
        given = getattr(callbacks, "callbacks", callbacks)
        given = given if isinstance(given, list | tuple) else [given]
        telemetries = [callback for callback in given if hasattr(callback, "gradient_log_for")]
        if len(telemetries) > 1:
            raise ValueError(
                "fit takes one GradientTelemetry among its callbacks. Received: several. Pass only one of them."
            )
        gradient_log = telemetries[0].gradient_log_for(self) if telemetries and self.compiled else None
        if gradient_log is not self.gradient_log:
            self.gradient_log = gradient_log
            self._clear_functions()
        return telemetries[0] if telemetries else None

    def make_train_function(self, force: bool = False) -> Any:
        """Returns the function that `fit` calls, in which no batch is drawn before the previous update is done.

        Args:
            force: Whether to make a new function even if there is one.
        """
        self.is_in_step = False  # the weights may have changed since the last training
        if force or self.train_function is None:
            has_own_logs = defines_own_step(type(self))
            self.train_function = make_train_function(self, self._batches, has_own_logs)
        return self.train_function

    def _clear_functions(self) -> None:
        """Removes the train functions, which are traced again when they are next needed."""
        self._functions.clear()
        self.train_function = self.test_function = None

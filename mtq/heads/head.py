"""`Head`: the last layer of a task's path, which turns a network's outputs into action values."""

import abc
from typing import Any, ClassVar

import keras
import tensorflow as tf

from mtq import value_learning as vl
from mtq.heads.return_scaling import ReturnScaling, get_return_scaling
from mtq.heads.target import Target


class Head(keras.layers.Layer, abc.ABC):
    """The last layer of a task's path: it turns N numbers for each action into the action's value.

    Training uses these numbers, not the value: `backup`, `greedy_backup` and `soft_backup` compute targets for them,
    and `losses` compares them with the targets. All of this is in the head's units: those of rewards, divided by the
    scale of returns if there is a return scaling. `call` converts the values to the units of rewards.

    Args:
        return_scaling: The scaling of returns: None, `"running"`, `"popart"` or an `mtq.heads.ReturnScaling`.

    Attributes:
        num_outputs: The number N of numbers for each action; None for a single one, whose axis is left out.
        loss_names: The names of the losses that fit the head, the default first.
        is_linear: Whether the values are linear in the outputs, as PopArt needs.
        losses_have_units: Whether the losses grow with the units of the head. The priorities of prioritized replay then
            follow from the temporal-difference errors instead.
        limits: The range of the target values, in the head's units, outside of which targets are cut off or biased;
            None without limits.
        statistics: The statistics of the return scaling, variables by name.
    """

    is_row_wise = True  # its output for one row depends on that row alone
    loss_names: ClassVar[tuple[str, ...]] = ()
    is_linear: ClassVar[bool] = False
    losses_have_units: ClassVar[bool] = False

    def __init__(self, return_scaling: Any = None, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.return_scaling: ReturnScaling | None = get_return_scaling(return_scaling)
        self.num_outputs: int | None = None
        self.limits: tuple[float, float] | None = None
        self.statistics: dict[str, keras.Variable] = {}
        if self.return_scaling is not None:
            self.return_scaling.check_head(self)
            if self.return_scaling.preserves_values and type(self).rescaled is Head.rescaled:
                raise ValueError(
                    f"{type(self).__name__} must define rescaled(target, factor), because "
                    f"{type(self.return_scaling).__name__} changes the units of its targets. Received: a class without "
                    "it. Define it, or use return_scaling='running'."
                )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the statistics of the return scaling, as non-trainable weights.

        Raises:
            ValueError: The outputs of the network do not have `num_outputs` numbers for each action.
        """
        numbers = () if self.num_outputs is None else (self.num_outputs,)
        if len(input_shape) != 2 + len(numbers) or tuple(input_shape[2:]) != numbers:
            shape, count = ", ".join(["B", "A", *map(str, numbers)]), self.num_outputs or 1
            raise ValueError(
                f"The outputs before a {type(self).__name__} must be of shape [{shape}], {count} for each action. "
                f"Received: shape {tuple(input_shape)}. Give the layer before it {count} · A units"
                f"{f' and a keras.layers.Reshape([A, {count}])' if numbers else ''}."
            )
        if self.return_scaling is not None:
            for name, value in self.return_scaling.initial_statistics.items():
                self.statistics[name] = self.add_weight(
                    shape=(), initializer=keras.initializers.Constant(value), trainable=False, name=name
                )
        super().build(input_shape)

    def call(self, outputs: Any) -> Any:
        """Computes the action values `[B, A]` in the units of rewards, from a network's outputs."""
        values = self.values(outputs)
        if self.return_scaling is None:
            return values
        return values * self.scale()

    def scale(self) -> tf.Tensor:
        """Returns the scale of returns, a float32 scalar; 1 without a return scaling."""
        if self.return_scaling is None:
            return tf.constant(1.0)
        return self.return_scaling.scale(
            {name: tf.convert_to_tensor(variable) for name, variable in self.statistics.items()}
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape `[B, A]`."""
        return tuple(input_shape[:2])

    @abc.abstractmethod
    def values(self, outputs: tf.Tensor) -> tf.Tensor:
        """Computes the expected returns of actions.

        Args:
            outputs: The outputs of the network, `[..., N]`; `[...]` if `num_outputs` is None.

        Returns:
            The expected returns in the head's units, `[...]`.
        """

    @abc.abstractmethod
    def losses(self, target: Target, outputs: tf.Tensor) -> tf.Tensor:
        """Computes the loss of each row.

        Args:
            target: The targets.
            outputs: The outputs for the actions taken, `[B, N]`.

        Returns:
            The losses, `[B]` float32.
        """

    @abc.abstractmethod
    def backup(self, r_t: tf.Tensor, discount_t: tf.Tensor, outputs_t: tf.Tensor) -> Target:
        """Computes the targets `r + γ Z`, where Z is the return that the outputs for one action describe.

        Args:
            r_t: The rewards, `[B]` float32.
            discount_t: The discounts, `[B]` float32.
            outputs_t: The target network's outputs for one action of each row, `[B, N]`.

        Returns:
            The targets in the head's units, with gradients stopped.
        """

    @abc.abstractmethod
    def soft_backup(
        self, r_t: tf.Tensor, discount_t: tf.Tensor, outputs_t: tf.Tensor, policy: tf.Tensor, bonus: tf.Tensor
    ) -> Target:
        """Computes the targets `r + γ Σ_a π(a) (Z_a + bonus_a)` of a policy at the next observations.

        Args:
            r_t: The rewards, `[B]` float32.
            discount_t: The discounts, `[B]` float32.
            outputs_t: The target network's outputs, `[B, A, N]`.
            policy: The probabilities π of the actions, `[B, A]` float32.
            bonus: The numbers that are added to the actions' returns, `[B, A]` float32.

        Returns:
            The targets in the head's units, with gradients stopped.
        """

    def greedy_backup(
        self,
        r_t: tf.Tensor,
        discount_t: tf.Tensor,
        outputs_t: tf.Tensor,
        selector: tf.Tensor | None,
        mask_t: tf.Tensor | None,
    ) -> Target:
        """Computes the targets of the legal action with the largest value.

        Args:
            r_t: The rewards, `[B]` float32.
            discount_t: The discounts, `[B]` float32.
            outputs_t: The target network's outputs, `[B, A, N]`.
            selector: The action values by which the action is selected, `[B, A]`; None for those of `outputs_t`.
            mask_t: Whether each action is legal, `[B, A]` bool; None if all are.

        Returns:
            The targets in the head's units, with gradients stopped.
        """
        a_t = vl.greedy_actions(self.values(outputs_t) if selector is None else selector, mask_t)
        return self.backup(r_t, discount_t, tf.gather(outputs_t, a_t, axis=1, batch_dims=1))

    def chosen(self, outputs: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        """Returns the outputs `[B, N]` for one action of each row.

        Args:
            outputs: The outputs, `[B, A, N]`.
            a: The actions, `[B]` int32.
        """
        return vl.select_distributions(outputs, a)

    def rescaled(self, target: Target, factor: tf.Tensor) -> Target:
        """Returns targets multiplied by a factor, for another scale of returns. Only heads with PopArt need it.

        Args:
            target: The targets.
            factor: The factor, a float32 scalar.

        Raises:
            NotImplementedError: The class does not define this method.
        """
        raise NotImplementedError(f"{type(self).__name__} must define rescaled(target, factor). Received: none.")

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        scaling = self.return_scaling
        config = None if scaling is None else keras.saving.serialize_keras_object(scaling)
        return {**super().get_config(), "return_scaling": config}

    def copy(self, name: str, return_scaling: ReturnScaling | None = None) -> "Head":
        """Returns a new head with the same settings.

        Args:
            name: The name of the new layer.
            return_scaling: The scaling of the new head, if this head has none.
        """
        config = {**self.get_config(), "name": name}
        if return_scaling is not None:
            return_scaling.check_head(self)
            config["return_scaling"] = keras.saving.serialize_keras_object(return_scaling)
        return type(self).from_config(config)

"""`NoisyDense`: a dense layer whose weights have noise of a learned scale, so that a greedy policy explores."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from mtq.checks import integer, real

_state = threading.local()


@contextlib.contextmanager
def exploration_noise() -> Iterator[None]:
    """A context manager in which `NoisyDense` layers draw noise although they are called in inference mode.

    The calls that select actions during training and those of the target network are made within it. Evaluations and
    exports are not, so that they have no noise.
    """
    before = getattr(_state, "is_on", False)
    _state.is_on = True
    try:
        yield
    finally:
        _state.is_on = before


@keras.saving.register_keras_serializable("mtq")
class NoisyDense(keras.layers.Layer):
    """A dense layer with factorized Gaussian noise on its weights: `x · (W + S ∘ (f(ε) f(ε')ᵀ)) + b + s ∘ f(ε')`.

    The noise vectors ε and ε' are drawn once for all rows: at each call in training mode, at each computation of
    targets in training, and at each step of acting; `f(x) = sign(x) √|x|`. In evaluations and exports there is no
    noise.

    Args:
        units: The number of outputs.
        activation: The activation function.
        sigma: The initial standard deviation σ₀ of the noise, which is divided by the square root of the number of
            inputs.
        seed: The seed of the noise; None to draw one.

    Reference:
        Fortunato et al., "Noisy Networks for Exploration", ICLR 2018, section 3 and equation 10.
    """

    is_row_wise = True  # all rows have the same noise

    def __init__(
        self, units: int, activation: Any = None, *, sigma: float = 0.5, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.units = integer("units of NoisyDense", units)
        self.sigma = real("sigma of NoisyDense", sigma, least=0)
        self.activation, self.seed = keras.activations.get(activation), seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.kernel_initializer: Any = None
        self.bias_initializer: Any = None
        self.kernel_sigma_initializer: Any = None
        self.bias_sigma_initializer: Any = None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the means and the standard deviations of the weights."""
        inputs: Any = input_shape[-1]
        bound = inputs**-0.5
        self.kernel_initializer = keras.initializers.RandomUniform(-bound, bound)
        self.bias_initializer = keras.initializers.RandomUniform(-bound, bound)
        self.kernel_sigma_initializer = keras.initializers.Constant(self.sigma * bound)
        self.bias_sigma_initializer = keras.initializers.Constant(self.sigma * bound)
        shapes = {"kernel": (inputs, self.units), "bias": (self.units,)}
        for name, shape in shapes.items():
            for weight in (name, f"{name}_sigma"):
                initializer = getattr(self, f"{weight}_initializer")
                setattr(self, weight, self.add_weight(shape=shape, initializer=initializer, name=weight))
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Computes the outputs `[..., units]` of inputs `[..., F]`."""
        outputs = ops.matmul(inputs, self.kernel) + self.bias
        if training or getattr(_state, "is_on", False):
            of_inputs, of_outputs = self._noise(self.kernel.shape[0]), self._noise(self.units)
            outputs += (ops.matmul(inputs * of_inputs, self.kernel_sigma) + self.bias_sigma) * of_outputs
        return outputs if self.activation is None else self.activation(outputs)

    def _noise(self, size: int) -> Any:
        noise = keras.random.normal([size], dtype=self.compute_dtype, seed=self.seed_generator)
        return ops.sign(noise) * ops.sqrt(ops.abs(noise))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape `[..., units]`."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "sigma": self.sigma,
            "seed": self.seed,
        }

"""The tasks' gradients of a dense layer's kernel, represented by the rows of which they are products."""

import tensorflow as tf

from mtq.joint.graph_cache import GraphCache
from mtq.joint.rows import Rows
from mtq.task_gradients.variable_gradients import Coefficients, SeparateGradients, VariableGradients

_CANCELLATION = 1e-3  # as a fraction of the sum of the products' magnitudes
_UNKNOWN = -1e36  # so negative that a sum with other squares in the safe range stays negative
_FOR_NORMS = 1.5  # materialize gradients for norms if they cost at most 1.5 times the row products


class RowProducts(VariableGradients):
    """The gradients of a kernel, `g_i = H_iᵀ D_i`, with inputs `H_i [B, in]` and output gradients `D_i [B, out]`.

    Since `⟨g_i, g_j⟩ = Σ (H_i H_jᵀ) ∘ (D_i D_jᵀ)`, norms and the Gram matrix follow from batch-sized products, and a
    weighted sum is one product over all rows. No task's gradient has to be materialized. For small kernels,
    materializing the gradients is cheaper. The choice depends on the number of elements to be read, with measured
    factors.

    Args:
        inputs: The inputs H of n tasks, `[Σ_i B_i, in]`.
        output_gradients: The output gradients D of the same rows, `[Σ_i B_i, out]`.
    """

    def __init__(self, inputs: Rows, output_gradients: Rows) -> None:
        self.tasks, self._inputs, self._output_gradients = inputs.tasks, inputs, output_gradients
        self.shape = tf.TensorShape([inputs.pieces[0].shape[-1], output_gradients.pieces[0].shape[-1]])
        self._cache = GraphCache()

    def copies(self) -> list[tf.Tensor]:
        """Returns the materialized gradients, n tensors `[in, out]`."""
        return self._materialized().copies()

    def squares(self) -> tf.Tensor:
        """Computes the squared norms, `[n]`, from the products of each task's rows or from materialized gradients."""
        if self._is_cheap_to_materialize(_FOR_NORMS):
            return self._materialized().squares()
        pairs = zip(self._inputs.parts, self._output_gradients.parts, strict=True)
        products = [_products(h, d, h, d) for h, d in pairs]
        squares = tf.stack([tf.reduce_sum(product) for product in products])
        magnitudes = tf.stack([tf.reduce_sum(tf.abs(product)) for product in products])
        return _if_precise(squares, magnitudes)

    def gram(self) -> tf.Tensor:
        """Computes the inner products, `[n, n]`.

        They come from the products of each task's rows with its own and with those of later tasks, or from materialized
        gradients.
        """
        # The cost of row products grows with T², that of materialized gradients with T.
        if self._is_cheap_to_materialize(0.65 * (len(self.tasks) + 1)):
            return self._materialized().gram()
        sizes, sums, magnitudes = self._inputs.sizes, [], []
        for i, (h, d) in enumerate(zip(self._inputs.parts, self._output_gradients.parts, strict=True)):
            before = sum(sizes[:i])  # products with earlier tasks are already computed
            products = _products(h, d, self._inputs.joined[before:], self._output_gradients.joined[before:])
            sums.append(tf.pad(tf.reduce_sum(products, axis=0), [[before, 0]]))
            magnitudes.append(tf.reduce_sum(tf.abs(products[:, : sizes[i]])))
        upper = tf.transpose(self._inputs.sums(tf.stack(sums, axis=1)))
        squares = _if_precise(tf.linalg.diag_part(upper), tf.stack(magnitudes))
        return tf.linalg.set_diag(upper + tf.transpose(upper), squares)

    def combine(self, coefficients: Coefficients) -> tf.Tensor:
        """Computes `Σ_i c_i g_i` as one product of weighted rows.

        It uses the materialized gradients instead if they exist, or will be needed for the logged norms.
        """
        if self._cache.has("copies") or self._is_cheap_to_materialize(_FOR_NORMS):
            return self._materialized().combine(coefficients)
        weighted = self._output_gradients.joined * self._inputs.repeated(coefficients.vector(self.tasks))[:, None]
        return tf.matmul(self._inputs.joined, weighted, transpose_a=True)

    def _is_cheap_to_materialize(self, factor: float) -> bool:
        sizes = self._inputs.sizes
        if not all(isinstance(size, int) for size in sizes):
            return True
        return self.shape[0] * self.shape[1] < factor * max(sizes) * sum(self.shape)

    def _materialized(self) -> SeparateGradients:
        return self._cache.get("copies", self._multiply)

    def _multiply(self) -> SeparateGradients:
        pairs = zip(self.tasks, self._inputs.parts, self._output_gradients.parts, strict=True)
        return SeparateGradients({task: tf.matmul(h, d, transpose_a=True) for task, h, d in pairs})


def _products(
    inputs: tf.Tensor, output_gradients: tf.Tensor, others: tf.Tensor, gradients_of_others: tf.Tensor
) -> tf.Tensor:
    """Computes `(H H'ᵀ) ∘ (D D'ᵀ)`: the inner products of the gradients of every two rows."""
    return tf.matmul(inputs, others, transpose_b=True) * tf.matmul(
        output_gradients, gradients_of_others, transpose_b=True
    )


def _if_precise(squares: tf.Tensor, magnitudes: tf.Tensor) -> tf.Tensor:
    """Replaces squares by a marker if the rows' products nearly cancel, which leaves only rounding errors."""
    return tf.where(squares > _CANCELLATION * magnitudes, squares, _UNKNOWN)

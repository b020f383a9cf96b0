"""The tasks' gradients of a dense layer's kernel, from the rows that they are products of."""

import tensorflow as tf

from mtq.joint.graph_cache import GraphCache
from mtq.joint.rows import Rows
from mtq.task_gradients.variable_gradients import Coefficients, SeparateGradients, VariableGradients

_CANCELLATION = 1e-3  # of the sum of the products' magnitudes
_UNKNOWN = -1e36  # so negative that no sum of other squares in range makes it positive
_FOR_NORMS = 1.5  # how much dearer the numbers of copies may be than those of the rows' products with themselves


class RowProducts(VariableGradients):
    """The gradients of a kernel, `g_i = H_iᵀ D_i`, with inputs `H_i [B, in]` and output gradients `D_i [B, out]`.

    Since `⟨g_i, g_j⟩ = Σ (H_i H_jᵀ) ∘ (D_i D_jᵀ)`, norms and Gram matrix come from batch-sized products, and a weighted
    sum is one product of all rows: no task's gradient has to be held. Where the kernel is small, holding them is
    cheaper; which it is, is decided by the numbers to be read, with factors that were measured.

    Args:
        inputs: H, of n tasks, `[Σ_i B_i, in]`.
        output_gradients: D, of the same rows, `[Σ_i B_i, out]`.
    """

    def __init__(self, inputs: Rows, output_gradients: Rows) -> None:
        self.tasks, self._inputs, self._output_gradients = inputs.tasks, inputs, output_gradients
        self.shape = tf.TensorShape([inputs.pieces[0].shape[-1], output_gradients.pieces[0].shape[-1]])
        self._kept = GraphCache()

    def copies(self) -> list[tf.Tensor]:
        """The products."""
        return self._hold().copies()

    def squares(self) -> tf.Tensor:
        """From products of each task's rows with themselves, or the copies."""
        if self._is_cheap_to_hold(_FOR_NORMS):
            return self._hold().squares()
        pairs = zip(self._inputs.parts, self._output_gradients.parts, strict=True)
        of_tasks = [_products(h, d, h, d) for h, d in pairs]
        squares = tf.stack([tf.reduce_sum(numbers) for numbers in of_tasks])
        magnitudes = tf.stack([tf.reduce_sum(tf.abs(numbers)) for numbers in of_tasks])
        return _if_precise(squares, magnitudes)

    def gram(self) -> tf.Tensor:
        """From products of each task's rows with their own and those of later tasks, or the copies."""
        if self._is_cheap_to_hold(0.65 * (len(self.tasks) + 1)):  # products grow with T², the other way with T
            return self._hold().gram()
        sizes, sums, magnitudes = self._inputs.sizes, [], []
        for i, (h, d) in enumerate(zip(self._inputs.parts, self._output_gradients.parts, strict=True)):
            before = sum(sizes[:i])  # products with earlier tasks are known
            products = _products(h, d, self._inputs.joined[before:], self._output_gradients.joined[before:])
            sums.append(tf.pad(tf.reduce_sum(products, axis=0), [[before, 0]]))
            magnitudes.append(tf.reduce_sum(tf.abs(products[:, : sizes[i]])))
        upper = tf.transpose(self._inputs.sums(tf.stack(sums, axis=1)))
        squares = _if_precise(tf.linalg.diag_part(upper), tf.stack(magnitudes))
        return tf.linalg.set_diag(upper + tf.transpose(upper), squares)

    def combine(self, coefficients: Coefficients) -> tf.Tensor:
        """One product of weighted rows; or of copies that are held already or will be, for the logged norms."""
        if self._kept.has("copies") or self._is_cheap_to_hold(_FOR_NORMS):
            return self._hold().combine(coefficients)
        weighted = self._output_gradients.joined * self._inputs.repeated(coefficients.vector(self.tasks))[:, None]
        return tf.matmul(self._inputs.joined, weighted, transpose_a=True)

    def _is_cheap_to_hold(self, factor: float) -> bool:
        sizes = self._inputs.sizes
        if not all(isinstance(size, int) for size in sizes):
            return True
        return self.shape[0] * self.shape[1] < factor * max(sizes) * sum(self.shape)

    def _hold(self) -> SeparateGradients:
        return self._kept.get("copies", self._multiply)

    def _multiply(self) -> SeparateGradients:
        pairs = zip(self.tasks, self._inputs.parts, self._output_gradients.parts, strict=True)
        return SeparateGradients({task: tf.matmul(h, d, transpose_a=True) for task, h, d in pairs})


def _products(
    inputs: tf.Tensor, output_gradients: tf.Tensor, others: tf.Tensor, gradients_of_others: tf.Tensor
) -> tf.Tensor:
    """`(H H'ᵀ) ∘ (D D'ᵀ)`: the inner products of the gradients of every two rows."""
    return tf.matmul(inputs, others, transpose_b=True) * tf.matmul(
        output_gradients, gradients_of_others, transpose_b=True
    )


def _if_precise(squares: tf.Tensor, magnitudes: tf.Tensor) -> tf.Tensor:
    """Where rows all but cancel each other, what is left of their products are rounding errors."""
    return tf.where(squares > _CANCELLATION * magnitudes, squares, _UNKNOWN)

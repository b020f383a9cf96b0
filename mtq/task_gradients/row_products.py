"""The tasks' gradients of a dense layer's kernel, from the rows that they are products of."""

from collections.abc import Callable

import tensorflow as tf

from mtq.kept_per_graph import KeptPerGraph
from mtq.networks.rows import Rows
from mtq.task_gradients.parts import Copies, Part

_CANCELLATION = 1e-3  # of the sum of the products' magnitudes


class RowProducts(Part):
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
        self.shape = tf.TensorShape([inputs.joined.shape[-1], output_gradients.joined.shape[-1]])
        self._kept = KeptPerGraph()

    def copies(self) -> list[tf.Tensor]:
        """The products."""
        return self._hold().copies()

    def squares(self) -> tf.Tensor:
        """From products of each task's rows with themselves, or the copies."""
        if self._is_cheap_to_hold(1.5):
            return self._hold().squares()
        pairs = zip(self._inputs.parts, self._output_gradients.parts, strict=True)
        products = [tf.matmul(h, h, transpose_b=True) * tf.matmul(d, d, transpose_b=True) for h, d in pairs]
        squares = tf.stack([tf.reduce_sum(product) for product in products])
        magnitudes = tf.stack([tf.reduce_sum(tf.abs(product)) for product in products])
        return self._if_precise(squares, magnitudes, squares, lambda: self._hold().squares())

    def gram(self) -> tf.Tensor:
        """From products of all rows with each other, or the copies."""
        if self._is_cheap_to_hold(len(self.tasks) / 2):
            return self._hold().gram()
        h, d = self._inputs.joined, self._output_gradients.joined
        products = tf.matmul(h, h, transpose_b=True) * tf.matmul(d, d, transpose_b=True)  # [Σ B, Σ B]
        gram, magnitudes = (
            self._inputs.sums(tf.transpose(self._inputs.sums(numbers))) for numbers in (products, tf.abs(products))
        )
        squares = tf.linalg.diag_part(gram)
        return self._if_precise(squares, tf.linalg.diag_part(magnitudes), gram, lambda: self._hold().gram())

    def _if_precise(
        self, squares: tf.Tensor, magnitudes: tf.Tensor, result: tf.Tensor, otherwise: Callable[[], tf.Tensor]
    ) -> tf.Tensor:
        """Where rows all but cancel each other, what is left of their products are rounding errors."""
        return tf.cond(tf.reduce_all(squares > _CANCELLATION * magnitudes), lambda: result, otherwise)

    def combine(self, coefficients: tf.Tensor) -> tf.Tensor:
        """One product of weighted rows, or of copies that are held already."""
        if self._kept.has("copies"):
            return self._hold().combine(coefficients)
        weighted = self._output_gradients.joined * self._inputs.repeated(coefficients)[:, None]
        return tf.matmul(self._inputs.joined, weighted, transpose_a=True)

    def _is_cheap_to_hold(self, factor: float) -> bool:
        sizes = self._inputs.sizes
        if not all(isinstance(size, int) for size in sizes):
            return True
        return self.shape[0] * self.shape[1] < factor * max(sizes) * sum(self.shape)

    def _hold(self) -> Copies:
        return self._kept.get("copies", self._multiply)

    def _multiply(self) -> Copies:
        pairs = zip(self.tasks, self._inputs.parts, self._output_gradients.parts, strict=True)
        return Copies({task: tf.matmul(h, d, transpose_a=True) for task, h, d in pairs})

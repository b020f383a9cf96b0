"""Reads the HLO that TensorFlow writes as the StableHLO that JAX compiles. TensorFlow is not needed."""

from jax._src.interpreters.mlir import make_ir_context
from jax._src.lib.mlir import ir
from jax._src.lib.mlir.dialects import hlo
from jax.extend.mlir import hlo_to_stablehlo


def parsed(serialized):
    """The module of serialized HLO. To be called, and its result used, within `context()`."""
    module = ir.Module.parse(hlo_to_stablehlo(serialized))
    replace_copies(module)
    return module


def context():
    """The context of modules."""
    return make_ir_context()


def location():
    """The location of the operations of a module."""
    return ir.Location.unknown()


def replace_copies(module):
    """StableHLO has no copies. A barrier says the same: here is a value that is not to be merged with another."""
    copies = []

    def visit(operation):
        if operation.name == "mhlo.copy":
            copies.append(operation)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    for copy in copies:
        with ir.InsertionPoint(copy):
            barrier = hlo.OptimizationBarrierOp([copy.operands[0]])
        copy.results[0].replace_all_uses_with(barrier.results[0])
        copy.operation.erase()

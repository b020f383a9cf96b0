"""Compiles the HLO that TensorFlow writes, as StableHLO, by a client of JAX. TensorFlow is not needed."""

from jax._src.compiler import get_compile_options
from jax._src.interpreters.mlir import make_ir_context
from jax._src.lib import xla_client
from jax._src.lib.mlir import ir
from jax._src.lib.mlir.dialects import hlo
from jax.extend.mlir import hlo_to_stablehlo


def compiled(serialized, device, compile_module):
    """What a function of a client, `(module, devices, options)`, makes of serialized HLO for one device."""
    options = get_compile_options(num_replicas=1, num_partitions=1)
    with make_ir_context(), ir.Location.unknown():
        module = ir.Module.parse(hlo_to_stablehlo(serialized))
        replace_copies(module)
        return compile_module(module, xla_client.DeviceList((device,)), options)


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

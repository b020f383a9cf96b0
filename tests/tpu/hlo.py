"""What XLA is given of a function, and whether a TPU can run it without its host."""

from tensorflow.compiler.xla.service.hlo_pb2 import HloModuleProto

# A TPU has none of the custom calls of a CPU; all of these are, or may be, ways back to the host.
_TO_THE_HOST = {"custom-call", "infeed", "outfeed", "send", "send-done", "recv", "recv-done"}


def lowered(function, *arguments):
    """The serialized HLO of a function that XLA compiles; variables that it reads or writes are parameters of it.

    Args:
        function: A `tf.function` with `jit_compile=True`.
        *arguments: Of it.

    Raises:
        ValueError: It has an operation that XLA lacks, such as one that calls Python, a dynamic shape, or a way back to
            the host.
    """
    try:
        serialized = function.experimental_get_compiler_ir(*arguments)(stage="hlo_serialized")
    except ValueError as error:
        raise ValueError(
            f"XLA must have every operation of the function. Received: {error} Write these in TensorFlow's operations, "
            "or leave them out of the function."
        ) from error
    check(HloModuleProto.FromString(serialized))
    return serialized


def check(module):
    """Raises a ValueError that names the first instruction with a dynamic shape, or that leads back to the host."""
    for computation in module.computations:
        for instruction in computation.instructions:
            if _is_dynamic(instruction.shape):
                raise ValueError(
                    f"All shapes must be static. Received: {_name(instruction)} of a dynamic shape. Use a mask in the "
                    "place of rows that are left out."
                )
            if instruction.opcode in _TO_THE_HOST:
                raise ValueError(
                    f"Nothing may lead back to the host. Received: {_name(instruction)}. Write it in operations that "
                    "XLA compiles."
                )


def _is_dynamic(shape):
    return any(shape.is_dynamic_dimension) or any(_is_dynamic(part) for part in shape.tuple_shapes)


def _name(instruction):
    target = f" to '{instruction.custom_call_target}'" if instruction.custom_call_target else ""
    return f"{instruction.opcode}{target}, from the operation '{instruction.metadata.op_name}',"

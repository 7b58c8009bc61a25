"""The words that kernels are written with, beside Numba's own: each becomes an instruction or two."""

from typing import Any

from llvmlite import ir
from numba import cuda, types
from numba.cuda.extending import intrinsic

from .define import device

WARP = 32
ALL_LANES = 0xFFFFFFFF
_I32, _I64 = ir.IntType(32), ir.IntType(64)


@device
def position() -> Any:
    """The number of this thread in the whole grid."""
    return types.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)


@intrinsic
def divide(typing_context, a, b):
    """a // b of unsigned 32-bit numbers. Python's own division of them is one of signed 64-bit numbers, which takes a
    GPU ten times as long."""
    def generate(context, builder, signature, values):
        return builder.udiv(*values)
    return types.uint32(types.uint32, types.uint32), generate


@intrinsic
def load4(typing_context, pointer, index):
    """pointer[index .. index + 3] in one 16-byte load (two of float64, 4 bytes of uint8); index is a multiple of 4."""
    def generate(context, builder, signature, values):
        vector = builder.load(_vector_pointer(context, builder, signature, values))
        vector.align = _alignment(context, pointer.dtype)
        return _to_tuple(context, builder, signature.return_type, vector)
    return types.UniTuple(pointer.dtype, 4)(pointer, types.uint32), generate


@intrinsic
def store4(typing_context, pointer, index, a, b, c, d):
    """pointer[index .. index + 3] = a, b, c, d in one 16-byte store; aligned as for load4."""
    real = pointer.dtype

    def generate(context, builder, signature, values):
        vector = _to_vector(context, builder, real, values[2:])
        stored = builder.store(vector, _vector_pointer(context, builder, signature, values))
        stored.align = _alignment(context, real)
        return context.get_dummy_value()
    return types.void(pointer, types.uint32, real, real, real, real), generate


@intrinsic
def load4_shared(typing_context, array, index, offset=0):
    """The same of a one-dimensional array in shared memory. offset: added to the index; a constant one is part of the
    instruction that loads, and costs nothing."""
    def generate(context, builder, signature, values):
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        if len(values) > 2:
            data = builder.gep(data, [builder.zext(values[2], _I64)])
        vector = builder.load(_vector_at(context, builder, signature.args[0].dtype, data, values[1]))
        vector.align = 16
        return _to_tuple(context, builder, signature.return_type, vector)
    return types.UniTuple(array.dtype, 4)(array, types.uint32, *[types.uint32] * (offset != 0)), generate


@intrinsic
def store4_shared(typing_context, array, index, a, b, c, d):
    """array[index .. index + 3] = a, b, c, d of a one-dimensional array in shared memory, as store4 does."""
    def generate(context, builder, signature, values):
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        place = _vector_at(context, builder, signature.args[0].dtype, data, values[1])
        builder.store(_to_vector(context, builder, signature.args[0].dtype, values[2:]), place).align = 16
        return context.get_dummy_value()
    return types.void(array, types.uint32, *4 * [array.dtype]), generate


def _alignment(context: Any, real: Any) -> int:
    """Of four numbers: their size, and at most 16 bytes, the most that one instruction moves."""
    return min(16, 4 * int(context.get_abi_sizeof(context.get_value_type(real))))


def _vector_pointer(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    return _vector_at(context, builder, signature.args[0].dtype, values[0], values[1])


def _vector_at(context: Any, builder: Any, real: Any, data: Any, index: Any) -> Any:
    first = builder.gep(data, [builder.zext(index, _I64)])
    vector = ir.VectorType(context.get_value_type(real), 4)
    return builder.bitcast(first, ir.PointerType(vector, first.type.addrspace))


def _to_tuple(context: Any, builder: Any, its_type: Any, vector: Any) -> Any:
    lanes = [builder.extract_element(vector, ir.Constant(_I32, lane)) for lane in range(4)]
    return context.make_tuple(builder, its_type, lanes)


def _to_vector(context: Any, builder: Any, real: Any, lanes: Any) -> Any:
    vector = ir.Constant(ir.VectorType(context.get_value_type(real), 4), ir.Undefined)
    for lane, value in enumerate(lanes):
        vector = builder.insert_element(vector, value, ir.Constant(_I32, lane))
    return vector


@intrinsic
def atomic_min(typing_context, pointer, index, value):
    """pointer[index] = min(pointer[index], value), seen by all threads as one step; of integers."""
    def generate(context, builder, signature, values):
        address = builder.gep(values[0], [builder.zext(values[1], _I64)])
        operation = "min" if signature.args[0].dtype.signed else "umin"
        builder.atomic_rmw(operation, address, values[2], "monotonic")
        return context.get_dummy_value()
    return types.void(pointer, types.uint32, pointer.dtype), generate


@device
def warp_sum(value: Any) -> Any:
    """The sum of `value` over the lanes of a warp, in its first lane; all 32 must take part."""
    value += cuda.shfl_down_sync(ALL_LANES, value, 16)
    value += cuda.shfl_down_sync(ALL_LANES, value, 8)
    value += cuda.shfl_down_sync(ALL_LANES, value, 4)
    value += cuda.shfl_down_sync(ALL_LANES, value, 2)
    value += cuda.shfl_down_sync(ALL_LANES, value, 1)
    return value

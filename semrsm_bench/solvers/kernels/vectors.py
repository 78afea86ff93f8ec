"""Short vectors inside numba: sixteen float32 or eight float64 in one value.

numba leaves float maxima in a loop scalar, because a maximum that must respect the order of its operands does not
vectorise. These types hand whole vectors to LLVM instead, which turns them into whatever registers the machine has
(AVX-512, two AVX2 halves, four NEON quarters): the same kernels run everywhere, fastest where registers are widest.

Only what the assignment kernels need is here. float32 and float64 differ in their number of lanes; kernels ask
`lanes_of(array)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import models, register_model
from numpy.typing import NDArray

from semrsm_bench.core.compiled import njit

# Typed as Any: the compiled function does not have the signature of the one it is made from.
intrinsic: Any = numba_intrinsic

LANES = {types.float32: 16, types.float64: 8}
_INT32 = ir.IntType(32)


class Vector(types.Type):  # type: ignore[misc]
    """numba type of a vector of ``LANES[dtype]`` floats."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.lanes = LANES[dtype]
        super().__init__(name=f"Vector({dtype} x {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, _llvm_type(kind))  # type: ignore[no-untyped-call]


def _llvm_type(kind: Vector) -> ir.VectorType:
    return ir.VectorType(ir.FloatType() if kind.dtype == types.float32 else ir.DoubleType(), kind.lanes)


def _shuffle(builder: ir.IRBuilder, value: ir.Value, order: list[int]) -> ir.Value:
    mask = ir.Constant(ir.VectorType(_INT32, len(order)), order)
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), mask)


def _is_line(array: Any) -> bool:
    return isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"


def pointer_to(context: Any, builder: Any, kind: Any, array: ir.Value, at: ir.Value, target: ir.Type) -> Any:
    """Pointer to ``array[at]`` as the first of the values of a vector type, and the alignment that it is sure of."""
    data = context.make_array(kind)(context, builder, array).data
    pointer = builder.bitcast(builder.gep(data, [at]), ir.PointerType(target))
    return pointer, np.dtype(str(kind.dtype)).itemsize


@intrinsic
def lanes_of(typingctx: Any, array: Any) -> Any:
    """How many elements of this array go into one vector."""
    lanes = LANES[array.dtype]
    return types.intp(array), lambda context, builder, signature, args: context.get_constant(types.intp, lanes)


@intrinsic
def load_as(typingctx: Any, like: Any, array: Any, at: Any) -> Any:
    """``array[at : at + lanes_of(like)]`` in the precision of ``like``, which is that of ``array`` or wider."""
    if not _is_line(array) or array.dtype not in LANES:
        return None
    kind = Vector(like.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given = ir.VectorType(_llvm_type(Vector(array.dtype)).element, kind.lanes)
        pointer, align = pointer_to(context, builder, array, args[1], args[2], given)
        vector = builder.load(pointer, align=align, typ=given)
        return vector if array.dtype == kind.dtype else builder.fpext(vector, _llvm_type(kind))

    return kind(like, array, types.intp), codegen


@njit(forceinline=True)
def load(array: NDArray[np.floating[Any]], at: int) -> Vector:
    """``array[at : at + lanes]``; the caller keeps within bounds."""
    return load_as(array, array, at)


@intrinsic
def store(typingctx: Any, array: Any, at: Any, value: Any) -> Any:
    """``array[at : at + lanes] = value``."""
    if not _is_line(array) or value != Vector(array.dtype):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, align = pointer_to(context, builder, array, args[0], args[1], _llvm_type(value))
        builder.store(args[2], pointer, align=align)
        return context.get_dummy_value()

    return types.none(array, types.intp, value), codegen


@intrinsic
def fill(typingctx: Any, array: Any, scalar: Any) -> Any:
    """A vector of the array's precision with ``scalar`` in every lane."""
    kind = Vector(array.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        single = builder.insert_element(ir.Constant(_llvm_type(kind), ir.Undefined), args[1], _INT32(0))
        return _shuffle(builder, single, [0] * kind.lanes)

    return kind(array, kind.dtype), codegen


@intrinsic
def fetch(typingctx: Any, array: Any, at: Any) -> Any:
    """Ask for the line of the cache with ``array[at]``, which may be past the end: nothing is read there."""
    number = ir.IntType(32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address, _ = pointer_to(context, builder, array, args[0], args[1], ir.IntType(8))
        kind = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        builder.call(
            builder.module.declare_intrinsic("llvm.prefetch", (address.type,), kind),
            # To be read, kept in all caches, data.
            [address, number(0), number(3), number(1)],
        )
        return context.get_dummy_value()

    return types.none(array, types.intp), codegen


@intrinsic
def gather(typingctx: Any, array: Any, index: Any, at: Any) -> Any:
    """``array[index[at : at + lanes]]`` for an int32 ``index``."""
    if not _is_line(array) or not _is_line(index) or index.dtype != types.int32:
        return None
    kind = Vector(array.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        numbers = ir.VectorType(_INT32, kind.lanes)
        pointer, align = pointer_to(context, builder, index, args[1], args[2], numbers)
        places = builder.sext(
            builder.load(pointer, align=align, typ=numbers), ir.VectorType(ir.IntType(64), kind.lanes)
        )
        data = context.make_array(array)(context, builder, args[0]).data
        value = ir.Constant(_llvm_type(kind), ir.Undefined)
        for lane in range(kind.lanes):
            element = builder.load(builder.gep(data, [builder.extract_element(places, _INT32(lane))]))
            value = builder.insert_element(value, element, _INT32(lane))
        return value

    return kind(array, index, types.intp), codegen


@intrinsic
def interleave(typingctx: Any, words: Any, at: Any) -> Any:
    """Transpose a square of 16 x 16 pairs of uint16 in place; pair j of row i is at ``words[at + 32 i + 2 j]``."""
    row, pairs = ir.VectorType(_INT32, 16), range(16)
    # A perfect shuffle of the rows, four times, is the transposition.
    halves = [[first + step + 16 * second for step in range(8) for second in range(2)] for first in (0, 8)]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places = [builder.add(args[1], ir.IntType(64)(32 * i)) for i in pairs]
        pointers = [pointer_to(context, builder, words, args[0], place, row)[0] for place in places]
        values = [builder.load(pointer, align=2, typ=row) for pointer in pointers]
        for _ in range(4):
            both = [(values[i], values[i + 8]) for i in range(8)]
            masks = [ir.Constant(ir.VectorType(_INT32, 16), order) for order in halves]
            values = [builder.shuffle_vector(a, b, mask) for a, b in both for mask in masks]
        for pointer, value in zip(pointers, values):
            builder.store(value, pointer, align=2)
        return context.get_dummy_value()

    return types.none(words, types.intp), codegen


@intrinsic
def lane_of(typingctx: Any, a: Any, lane: Any) -> Any:
    """``a[lane]``; the caller keeps within bounds."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.extract_element(args[0], builder.trunc(args[1], _INT32))

    return a.dtype(a, types.int64), codegen


def _operation(
    number: int, emit: Callable[..., Any], doc: str, result: Callable[[Any], Any] = lambda kind: kind
) -> Any:
    """An operation on so many values of one type: ``emit(builder, kind, *values)`` writes it."""

    def operation(typingctx: Any, *values: Any) -> Any:
        kind = values[0]
        if any(other != kind for other in values):
            return None
        return result(kind)(*values), lambda context, builder, signature, args: emit(builder, kind, *args)

    # numba reads the number of arguments off the signature.
    names = ["typingctx", *"abcd"[:number]]
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    operation.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    operation.__doc__ = doc
    return intrinsic(operation)


def _select(builder: Any, sign: str, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(sign, a, b), a, b)


def _reduce(builder: Any, kind: Vector, value: Any, sign: str) -> Any:
    width = kind.lanes
    while width > 1:
        width //= 2
        order = [(lane + width) % kind.lanes for lane in range(kind.lanes)]
        value = _select(builder, sign, value, _shuffle(builder, value, order))
    return builder.extract_element(value, _INT32(0))


def _emit_mask(builder: Any, kind: Vector, a: Any, b: Any) -> Any:
    bits = builder.bitcast(builder.fcmp_ordered(">=", a, b), ir.IntType(kind.lanes))
    return builder.zext(bits, ir.IntType(64))


minus = _operation(2, lambda builder, kind, a, b: builder.fsub(a, b), "Lane by lane difference ``a - b``.")
higher = _operation(2, lambda builder, kind, a, b: _select(builder, ">", a, b), "Lane by lane maximum (no NaN).")
lower = _operation(2, lambda builder, kind, a, b: _select(builder, "<", a, b), "Lane by lane minimum (no NaN).")
choose_above = _operation(
    4,
    lambda builder, kind, x, y, a, b: builder.select(builder.fcmp_ordered(">", x, y), a, b),
    "``choose_above(x, y, a, b)`` is lane by lane ``a`` where ``x > y``, else ``b``.",
)
at_least = _operation(2, _emit_mask, "Bit ``l`` of the result says whether ``a[l] >= b[l]``.", lambda kind: types.int64)
highest = _operation(1, lambda b, kind, a: _reduce(b, kind, a, ">"), "Largest lane.", lambda kind: kind.dtype)
lowest = _operation(1, lambda b, kind, a: _reduce(b, kind, a, "<"), "Smallest lane.", lambda kind: kind.dtype)
first_bit = _operation(
    1, lambda b, kind, mask: b.cttz(mask, ir.IntType(1)(1)), "Place of the lowest set bit of an int64 that is not zero."
)
count_bits = _operation(1, lambda b, kind, mask: b.ctpop(mask), "Number of set bits of an int64.")

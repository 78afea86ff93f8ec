"""Short vectors inside numba: sixteen float32 or eight float64 in one value.

numba leaves float maxima in a loop scalar, because a maximum that must respect the order of its operands does not
vectorise. These types hand whole vectors to LLVM instead, which turns them into whatever registers the machine has
(AVX-512, two AVX2 halves, four NEON quarters): the same kernels run everywhere, fastest where registers are widest.

Only what the assignment kernels need is here: `load`, `fill` (one number in all lanes), difference, maximum,
minimum, `choose_above`, `plus_product`, `gather`, and the reductions `highest`, `lowest` and `at_least` (a bit mask).
The lanes of float32 and of float64 differ in number; kernels ask `lanes_of(array)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import models, register_model

# Typed as Any: the compiled function does not have the signature of the one it is made from.
intrinsic: Any = numba_intrinsic

LANES = {types.float32: 16, types.float64: 8}


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
    scalar = ir.FloatType() if kind.dtype == types.float32 else ir.DoubleType()
    return ir.VectorType(scalar, kind.lanes)


def _shuffle(builder: ir.IRBuilder, value: ir.Value, order: list[int]) -> ir.Value:
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), mask)


def _splat(builder: ir.IRBuilder, scalar: ir.Value, kind: Vector) -> ir.Value:
    base = ir.Constant(_llvm_type(kind), ir.Undefined)
    single = builder.insert_element(base, scalar, ir.Constant(ir.IntType(32), 0))
    return _shuffle(builder, single, [0] * kind.lanes)


def _element_pointer(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value, at: ir.Value) -> ir.Value:
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [at])


def _load(context: Any, builder: ir.IRBuilder, kind: Vector, array: Any, value: ir.Value, at: ir.Value) -> ir.Value:
    """As many elements as ``kind`` has lanes, from an array of its precision or of a narrower one."""
    given = ir.VectorType(_llvm_type(Vector(array.dtype)).element, kind.lanes)
    wide = builder.bitcast(_element_pointer(context, builder, array, value, at), ir.PointerType(given))
    vector = builder.load(wide, align=np.dtype(str(array.dtype)).itemsize, typ=given)
    return vector if array.dtype == kind.dtype else builder.fpext(vector, _llvm_type(kind))


def _suffix(kind: Vector) -> str:
    return f"v{kind.lanes}{'f32' if kind.dtype == types.float32 else 'f64'}"


def _declared(builder: ir.IRBuilder, signature: ir.FunctionType, name: str) -> Any:
    return cgutils.get_or_insert_function(builder.module, signature, name)  # type: ignore[no-untyped-call]


def _is_line(array: Any) -> bool:
    return isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C" and array.dtype in LANES


@intrinsic
def lanes_of(typingctx: Any, array: Any) -> Any:
    """How many elements of this array go into one vector."""
    lanes = LANES[array.dtype]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_constant(types.intp, lanes)

    return types.intp(array), codegen


def _loading(array: Any, at: Any, like: Any) -> Any:
    if not _is_line(array) or not isinstance(at, types.Integer):
        return None
    kind = Vector(like.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _load(context, builder, kind, signature.args[-2], args[-2], args[-1])

    return kind, codegen


@intrinsic
def load_as(typingctx: Any, like: Any, array: Any, at: Any) -> Any:
    """``array[at : at + lanes_of(like)]`` in the precision of ``like``, which is that of ``array`` or wider."""
    found = _loading(array, at, like)
    return found and (found[0](like, array, types.intp), found[1])


@intrinsic
def load(typingctx: Any, array: Any, at: Any) -> Any:
    """``array[at : at + lanes]``; the caller keeps within bounds."""
    found = _loading(array, at, array)
    return found and (found[0](array, types.intp), found[1])


@intrinsic
def store(typingctx: Any, array: Any, at: Any, value: Any) -> Any:
    """``array[at : at + lanes] = value``."""
    if not _is_line(array) or value != Vector(array.dtype):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _element_pointer(context, builder, signature.args[0], args[0], args[1])
        wide = builder.bitcast(pointer, ir.PointerType(_llvm_type(value)))
        builder.store(args[2], wide, align=np.dtype(str(value.dtype)).itemsize)
        return context.get_dummy_value()

    return types.none(array, types.intp, value), codegen


@intrinsic
def fill(typingctx: Any, array: Any, scalar: Any) -> Any:
    """A vector of the array's precision with ``scalar`` in every lane."""
    if not isinstance(scalar, types.Float | types.Integer):
        return None
    kind = Vector(array.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _splat(builder, args[1], kind)

    return kind(array, kind.dtype), codegen


@intrinsic
def gather(typingctx: Any, array: Any, index: Any, at: Any) -> Any:
    """``array[index[at : at + lanes]]`` for an int32 ``index``."""
    if not _is_line(array) or not isinstance(index, types.Array) or index.dtype != types.int32:
        return None
    kind = Vector(array.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = _llvm_type(kind)
        where = _element_pointer(context, builder, signature.args[1], args[1], args[2])
        numbers = ir.VectorType(ir.IntType(32), kind.lanes)
        wide = builder.bitcast(where, ir.PointerType(numbers))
        places = builder.load(wide, align=4, typ=numbers)
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        base = builder.ptrtoint(data, ir.IntType(64))
        long = ir.VectorType(ir.IntType(64), kind.lanes)
        size = np.dtype(str(kind.dtype)).itemsize
        offsets = builder.mul(builder.sext(places, long), ir.Constant(long, [size] * kind.lanes))
        start = builder.insert_element(ir.Constant(long, ir.Undefined), base, ir.Constant(ir.IntType(32), 0))
        addresses = builder.add(_shuffle(builder, start, [0] * kind.lanes), offsets)
        pointers = builder.inttoptr(addresses, ir.VectorType(ir.PointerType(vector.element), kind.lanes))
        bits = ir.VectorType(ir.IntType(1), kind.lanes)
        signature_ = ir.FunctionType(vector, [pointers.type, ir.IntType(32), bits, vector])
        function = _declared(builder, signature_, f"llvm.masked.gather.{_suffix(kind)}.v{kind.lanes}p0")
        everywhere = ir.Constant(bits, [1] * kind.lanes)
        return builder.call(
            function, [pointers, ir.Constant(ir.IntType(32), size), everywhere, ir.Constant(vector, ir.Undefined)]
        )

    return kind(array, index, types.intp), codegen


def _on_vectors(
    number: int, emit: Callable[..., Any], doc: str, result: Callable[[Vector], Any] = lambda kind: kind
) -> Any:
    """An operation on so many vectors of one type: ``emit(builder, kind, *values)`` writes it."""

    def typed(*vectors: Any) -> Any:
        kind = vectors[0]
        if not isinstance(kind, Vector) or any(other != kind for other in vectors):
            return None
        return result(kind)(*vectors), lambda context, builder, signature, args: emit(builder, kind, *args)

    # numba reads the number of arguments off the signature.
    operation = {
        1: lambda typingctx, a: typed(a),
        2: lambda typingctx, a, b: typed(a, b),
        3: lambda typingctx, a, b, c: typed(a, b, c),
        4: lambda typingctx, a, b, c, d: typed(a, b, c, d),
    }[number]
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
    return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


def _emit_fmuladd(builder: Any, kind: Vector, total: Any, a: Any, b: Any) -> Any:
    function = _declared(builder, ir.FunctionType(a.type, [a.type] * 3), f"llvm.fmuladd.{_suffix(kind)}")
    return builder.call(function, [a, b, total])


def _emit_mask(builder: Any, kind: Vector, a: Any, b: Any) -> Any:
    bits = builder.bitcast(builder.fcmp_ordered(">=", a, b), ir.IntType(kind.lanes))
    return builder.zext(bits, ir.IntType(64))


minus = _on_vectors(2, lambda builder, kind, a, b: builder.fsub(a, b), "Lane by lane difference ``a - b``.")
higher = _on_vectors(2, lambda builder, kind, a, b: _select(builder, ">", a, b), "Lane by lane maximum (no NaN).")
lower = _on_vectors(2, lambda builder, kind, a, b: _select(builder, "<", a, b), "Lane by lane minimum (no NaN).")
choose_above = _on_vectors(
    4,
    lambda builder, kind, x, y, a, b: builder.select(builder.fcmp_ordered(">", x, y), a, b),
    "``choose_above(x, y, a, b)`` is lane by lane ``a`` where ``x > y``, else ``b``.",
)
plus_product = _on_vectors(
    3, _emit_fmuladd, "``plus_product(t, a, b)`` is ``t + a * b``, rounded once where the machine can."
)
at_least = _on_vectors(
    2, _emit_mask, "Bit ``l`` of the result says whether ``a[l] >= b[l]``.", lambda kind: types.int64
)
highest = _on_vectors(1, lambda b, kind, a: _reduce(b, kind, a, ">"), "Largest lane.", lambda kind: kind.dtype)
lowest = _on_vectors(1, lambda b, kind, a: _reduce(b, kind, a, "<"), "Smallest lane.", lambda kind: kind.dtype)


def _of_bits(emit: Callable[[Any, Any], Any], doc: str) -> Any:
    def operation(typingctx: Any, mask: Any) -> Any:
        if not isinstance(mask, types.Integer):
            return None
        return types.int64(types.int64), lambda context, builder, signature, args: emit(builder, args[0])

    operation.__doc__ = doc
    return intrinsic(operation)


first_bit = _of_bits(
    lambda builder, mask: builder.cttz(mask, ir.Constant(ir.IntType(1), 1)),
    "Place of the lowest set bit of a mask that is not zero.",
)
count_bits = _of_bits(lambda builder, mask: builder.ctpop(mask), "Number of set bits of a mask.")


@intrinsic
def lane_of(typingctx: Any, a: Any, lane: Any) -> Any:
    """``a[lane]``; the caller keeps within bounds."""
    if not isinstance(a, Vector) or not isinstance(lane, types.Integer):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.extract_element(args[0], builder.trunc(args[1], ir.IntType(32)))

    return a.dtype(a, types.int64), codegen

"""Inner products on a processor's tile unit (Intel's AMX), to the accuracy of float32.

The unit multiplies bfloat16, which have 8 significant bits, and sums in float32. Every float32 is the sum of three of them, and
six of the nine products of such parts are above the rounding of float32 itself; the other three are left out. That is six
times the work, on a unit that is sixteen times as fast as vectors of float32.

Vectors are *packed* for it: strips of 32 vectors, of each strip chunks of 32 channels, of each chunk the three parts, and of each
part two tiles of 16 vectors. A tile of left vectors is 16 rows of 32 bfloat16; one of right vectors has its pairs of bfloat16
transposed. What is missing to whole strips and chunks is zero. The right side is packed whole, the left strip by strip.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from semrsm_bench.core.compiled import njit
from semrsm_bench.solvers.kernels import COMPILED, Floats, Words
from semrsm_bench.solvers.kernels import vectors as v
from semrsm_bench.solvers.kernels.vectors import intrinsic

# Vectors of a strip and channels of a chunk; parts of a float32; bfloat16 of a tile; and all of a chunk.
SIDE, _PARTS, _TILE = 32, 3, 16 * 32
CHUNK = _PARTS * 2 * _TILE
# Parts that are multiplied, smaller products first; in this order few tiles are loaded anew.
_PRODUCTS = ((2, 0), (1, 0), (1, 1), (0, 1), (0, 2), (0, 0))
# Largest entries between which no part and no product that matters is flushed to zero, and none overflows.
_SMALLEST, _LARGEST = 1e-12, 1e15
# Bytes of packed right vectors that stay in the cache while strips of left ones pass.
_PANEL_BYTES = 1 << 20
# Linux asks a process to say that it wants the unit's registers: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18

_INT8, _INT64 = ir.IntType(8), ir.IntType(64)


@cache
def has_tiles() -> bool:
    """Whether this process can use a tile unit: Linux on an x86-64 processor that has one, and numba compiles for it."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    config: Any = numba.config
    features: Any = llvmlite.binding.get_host_cpu_features()
    compiles = not (config.DISABLE_JIT or config.CPU_NAME or config.CPU_FEATURES)
    if not (compiles and features.get("amx-bf16") and features.get("amx-tile")):
        return False
    return bool(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA) == 0)


def _emit(builder: Any, name: str, *values: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
    builder.call(builder.module.declare_intrinsic(f"llvm.x86.{name}", (), kind), values)


@intrinsic
def _begin(typingctx: Any) -> Any:
    """Give all eight tiles 16 rows of 64 bytes."""
    layout = bytearray(64)
    layout[0] = 1
    layout[16:32:2] = bytes([64] * 8)
    layout[48:56] = bytes([16] * 8)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        constant = ir.Constant(ir.ArrayType(_INT8, 64), layout)
        place: Any = cgutils.alloca_once_value(builder, constant)  # type: ignore[no-untyped-call]
        _emit(builder, "ldtilecfg", builder.bitcast(place, _INT8.as_pointer()))
        return context.get_dummy_value()

    return types.none(), codegen


@intrinsic
def _end(typingctx: Any) -> Any:
    """Give the tiles back."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _emit(builder, "tilerelease")
        return context.get_dummy_value()

    return types.none(), codegen


@intrinsic
def _clear_sums(typingctx: Any) -> Any:
    """Tiles 0 to 3, the sums of a block of 32 x 32, become zero."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        for tile in range(4):
            _emit(builder, "tilezero", _INT8(tile))
        return context.get_dummy_value()

    return types.none(), codegen


@intrinsic
def _add_chunk(typingctx: Any, left: Any, at_left: Any, right: Any, at_right: Any) -> Any:
    """Add the products of a chunk of a left strip and of one of a right strip to the sums."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        loaded: list[int | None] = [None, None]
        for parts in _PRODUCTS:
            for side, (kind, part, first) in enumerate(((left, parts[0], 4), (right, parts[1], 6))):
                if loaded[side] == part:
                    continue
                loaded[side] = part
                for half in range(2):
                    at = builder.add(args[2 * side + 1], _INT64((2 * part + half) * _TILE))
                    address, _ = v.pointer_to(context, builder, kind, args[2 * side], at, _INT8)
                    _emit(builder, "tileloadd64", _INT8(first + half), address, _INT64(64))
            for tile in range(4):
                _emit(builder, "tdpbf16ps", _INT8(tile), _INT8(4 + tile // 2), _INT8(6 + tile % 2))
        return context.get_dummy_value()

    return types.none(left, types.intp, right, types.intp), codegen


@intrinsic
def _store_sums(typingctx: Any, out: Any, at: Any, width: Any) -> Any:
    """Write the sums to a block of 32 x 32 that begins at ``out[at]``, in rows that are ``width`` apart."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        for tile in range(4):
            place = builder.add(args[1], _INT64(16 * (tile % 2)))
            place = builder.add(place, builder.mul(args[2], _INT64(16 * (tile // 2))))
            address, _ = v.pointer_to(context, builder, out, args[0], place, _INT8)
            _emit(builder, "tilestored64", _INT8(tile), address, builder.mul(args[2], _INT64(4)))
        return context.get_dummy_value()

    return types.none(out, types.intp, types.intp), codegen


@intrinsic
def _split(typingctx: Any, line: Any, at: Any, packed: Any, place: Any) -> Any:
    """The parts of 32 floats from ``line[at]`` on, each into the row of its tile, that of the first at ``packed[place]``."""
    floats, bits, words = (ir.VectorType(kind, 32) for kind in (ir.FloatType(), ir.IntType(32), ir.IntType(16)))

    def all_of(value: int) -> ir.Constant:
        return ir.Constant(bits, [value] * 32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, align = v.pointer_to(context, builder, line, args[0], args[1], floats)
        rest = builder.load(source, align=align)
        for part in range(_PARTS):
            given = builder.bitcast(rest, bits)
            # To nearest, half to even.
            is_odd = builder.and_(builder.lshr(given, all_of(16)), all_of(1))
            rounded = builder.add(builder.add(given, all_of(0x7FFF)), is_odd)
            rounded = builder.and_(rounded, all_of(0xFFFF0000))
            at = builder.add(args[3], _INT64(2 * part * _TILE))
            target, align = v.pointer_to(context, builder, packed, args[2], at, words)
            builder.store(builder.trunc(builder.lshr(rounded, all_of(16)), words), target, align=align)
            rest = builder.fsub(rest, builder.bitcast(rounded, floats))
        return context.get_dummy_value()

    return types.none(line, types.intp, packed, types.intp), codegen


@njit(forceinline=True, **COMPILED)
def _words(count: int) -> Words:
    """Room that begins with a line of the cache: a row of a tile that lies in two takes twice as long."""
    room = np.empty(count + 32, np.uint16)
    skipped = -room.ctypes.data % 64 // 2
    return room[skipped : skipped + count]


@njit(**COMPILED)
def _pack_strip(vectors: Floats, strip: int, packed: Words, begin: int) -> np.float32:
    """Pack 32 vectors of (n, C), as left ones, from ``packed[begin]`` on; returns their largest magnitude."""
    count, channels = vectors.shape
    flat, line = vectors.reshape(-1), np.empty(SIDE, np.float32)
    high = low = v.fill(line, 0.0)
    for k in range(-(-channels // SIDE)):
        for r in range(SIDE):
            i = strip * SIDE + r
            place = begin + k * CHUNK + r // 16 * _TILE + r % 16 * SIDE
            if i < count and (k + 1) * SIDE <= channels:
                at = i * channels + k * SIDE
                _split(flat, at, packed, place)
                a, b = v.load(flat, at), v.load(flat, at + 16)
            else:
                for c in range(SIDE):
                    inside = i < count and k * SIDE + c < channels
                    line[c] = vectors[i, k * SIDE + c] if inside else np.float32(0)
                _split(line, 0, packed, place)
                a, b = v.load(line, 0), v.load(line, 16)
            high, low = v.higher(high, v.higher(a, b)), v.lower(low, v.lower(a, b))
    return max(v.highest(high), -v.lowest(low))


@njit(**COMPILED)
def pack(vectors: Floats) -> tuple[Words, bool]:
    """Contiguous float32 vectors (n, C), packed as right ones, and whether their numbers suit the unit."""
    strips, size = -(-vectors.shape[0] // SIDE), -(-vectors.shape[1] // SIDE) * CHUNK
    packed, largest = _words(strips * size), np.float32(0)
    for strip in range(strips):
        largest = max(largest, _pack_strip(vectors, strip, packed, strip * size))
        for tile in range(strip * size, (strip + 1) * size, _TILE):
            v.interleave(packed, tile)
    return packed, bool(_SMALLEST < largest < _LARGEST)


@njit(forceinline=True, **COMPILED)
def _multiply_block(left: Words, right: Words, j: int) -> None:
    """The products of a left strip and strip j of the right vectors, as sums."""
    _clear_sums()
    for at in range(0, left.shape[0], CHUNK):
        _add_chunk(left, at, right, j * left.shape[0] + at)


@njit(forceinline=True, **COMPILED)
def _panel(left: Words) -> int:
    """Strips of right vectors that stay in the cache while those of the left ones pass."""
    return max(1, _PANEL_BYTES // (2 * left.shape[0]))


@njit(**COMPILED)
def multiply(x: Floats, right: Words, out: Floats) -> bool:
    """Inner products of x (n, C) with packed vectors into ``out`` (n, m); whether the numbers of x suit the unit."""
    height, width = out.shape
    left, largest = _words(-(-x.shape[1] // SIDE) * CHUNK), np.float32(0)
    columns = -(-width // SIDE)
    flat, edge = out.reshape(-1), _words(2 * SIDE * SIDE).view(np.float32)
    _begin()
    for begin in range(0, columns, _panel(left)):
        for i in range(-(-height // SIDE)):
            largest = max(largest, _pack_strip(x, i, left, 0))
            for j in range(begin, min(begin + _panel(left), columns)):
                _multiply_block(left, right, j)
                high, wide = min(SIDE, height - i * SIDE), min(SIDE, width - j * SIDE)
                if high == SIDE and wide == SIDE:
                    _store_sums(flat, i * SIDE * width + j * SIDE, width)
                    continue
                _store_sums(edge, 0, SIDE)
                for r in range(high):
                    for c in range(wide):
                        out[i * SIDE + r, j * SIDE + c] = edge[r * SIDE + c]
    _end()
    return bool(_SMALLEST < largest < _LARGEST)


@njit(**COMPILED)
def row_duals_into(x: Floats, right: Words, prices: Floats, duals: Floats) -> bool:
    """``max_j (x_i . y_j - prices_j)`` of packed y into ``duals`` (n,), float32, with no room for the products; as `multiply`."""
    left, largest = _words(-(-x.shape[1] // SIDE) * CHUNK), np.float32(0)
    columns = -(-len(prices) // SIDE)
    # Columns that only fill the last strip are never the largest.
    every = np.full(columns * SIDE, np.inf, np.float32)
    every[: len(prices)] = prices
    block, sums = _words(2 * SIDE * SIDE).view(np.float32), _words(2 * SIDE * 16).view(np.float32)
    duals[:] = -np.inf
    _begin()
    for begin in range(0, columns, _panel(left)):
        for first in range(0, len(duals), SIDE):
            largest = max(largest, _pack_strip(x, first // SIDE, left, 0))
            sums[:] = -np.inf
            for j in range(begin, min(begin + _panel(left), columns)):
                _multiply_block(left, right, j)
                _store_sums(block, 0, SIDE)
                low, high = v.load(every, j * SIDE), v.load(every, j * SIDE + 16)
                for r in range(SIDE):
                    a = v.minus(v.load(block, r * SIDE), low)
                    b = v.minus(v.load(block, r * SIDE + 16), high)
                    v.store(sums, 16 * r, v.higher(v.load(sums, 16 * r), v.higher(a, b)))
            for r in range(min(SIDE, len(duals) - first)):
                duals[first + r] = max(duals[first + r], v.highest(v.load(sums, 16 * r)))
    _end()
    return bool(_SMALLEST < largest < _LARGEST)

"""Eight bytes at a time: how the compiled kernels look for bytes, count and hash them.

A *group* is eight bytes as one uint64, the first of them lowest. A *mask* marks bytes of a group by their highest bit.

Sources: the zero-byte test of Hacker's Delight (Warren, 2nd edition, section 6-1); the folded multiplication of wyhash
(Wang Yi, public domain).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from curate.base.compiled import inner, tiny
from curate.base.text import Bytes

_LOW = np.uint64(0x7F7F7F7F7F7F7F7F)
_HIGH = np.uint64(0x8080808080808080)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_EACH = np.uint64(0x0101010101010101)
_SMALL = np.uint64(0x2020202020202020)
_FROM_A = np.uint64(0x1F1F1F1F1F1F1F1F)
_BEHIND_Z = np.uint64(0x0505050505050505)
_FROM_ZERO = np.uint64(0x5050505050505050)
_BEHIND_CAPITALS = np.uint64(0x2525252525252525)
_FROM_EXCLAMATION = np.uint64(0x5F5F5F5F5F5F5F5F)
_FROM_SPACE = np.uint64(0x6060606060606060)
_ONE, _EIGHT = np.uint64(1), np.uint64(8)

_BASIS = np.uint64(0xCBF29CE484222325)
_LENGTH = np.uint64(0x9E3779B97F4A7C15)
_FACTOR = np.uint64(0xE7037ED1A0B428DB)


@intrinsic
def _loaded(typing: Any, data: Any, at: Any) -> Any:
    """uint64: the eight bytes of ``data`` from ``at`` on, aligned or not; they must all be there."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(array.data, [arguments[1]])
        word = context.get_value_type(types.uint64)
        load = builder.load(builder.bitcast(pointer, word.as_pointer()))
        load.align = 1
        return load

    return types.uint64(data, types.int64), generate


@intrinsic
def _trailing_zeros(typing: Any, mask: Any) -> Any:
    """int64: zero bits below the lowest set one; 64 without one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, False))

    return types.int64(types.uint64), generate


@intrinsic
def _set_bits(typing: Any, mask: Any) -> Any:
    """int64: bits that are set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@intrinsic
def _folded(typing: Any, a: Any, b: Any) -> Any:
    """uint64: the halves of the 128-bit product, one laid over the other."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), word)
        return builder.xor(high, builder.trunc(product, word))

    return types.uint64(types.uint64, types.uint64), generate


@tiny
def group_at(data: Bytes, at: int) -> np.uint64:
    """The group that begins at ``at``; ``data`` must reach to ``at + 8``."""
    return _loaded(data, at)


@tiny
def equal_to(group: np.uint64, byte: np.uint64) -> np.uint64:
    """Mask of the bytes that are ``byte``."""
    x = group ^ (byte * _EACH)
    return ~(((x & _LOW) + _LOW) | x) & _HIGH


@tiny
def at_most_space(group: np.uint64) -> np.uint64:
    """Mask of the bytes up to 32."""
    return ~(((group & _LOW) + _FROM_EXCLAMATION) | group) & _HIGH


@tiny
def below_space(group: np.uint64) -> np.uint64:
    """Mask of the bytes below 32."""
    return ~(((group & _LOW) + _FROM_SPACE) | group) & _HIGH


@tiny
def not_ascii(group: np.uint64) -> np.uint64:
    """Mask of the bytes of characters that are not ASCII."""
    return group & _HIGH


@tiny
def not_letters(group: np.uint64) -> np.uint64:
    """Mask of the bytes that are no ASCII letters."""
    x = (group & _LOW) | _SMALL
    return (~(x + _FROM_A) | (x + _BEHIND_Z) | group) & _HIGH


@tiny
def digits_to_capitals(group: np.uint64) -> np.uint64:
    """Mask of the bytes from ``0`` to ``Z``."""
    x = group & _LOW
    return (x + _FROM_ZERO) & ~(x + _BEHIND_CAPITALS) & ~group & _HIGH


@tiny
def continuations(group: np.uint64) -> np.uint64:
    """Mask of the bytes that do not begin a character."""
    return group & ~(group << _ONE) & _HIGH


@tiny
def first_marked(mask: np.uint64) -> int:
    """Place, 0 to 7, of the first byte that is marked; 8 without one."""
    return _trailing_zeros(mask) >> 3


@tiny
def marked(mask: np.uint64) -> int:
    """Number of bytes that are marked."""
    return _set_bits(mask)


@inner
def find_byte(data: Bytes, at: int, end: int, byte: np.uint64) -> int:
    """Where ``byte`` is next in ``data[at:end]``; ``end`` without one."""
    while at + 8 <= end:
        ahead = first_marked(equal_to(_loaded(data, at), byte))
        at += ahead
        if ahead < 8:
            return at
    while at < end and data[at] != byte:
        at += 1
    return at


@inner
def count_byte(data: Bytes, at: int, end: int, byte: np.uint64) -> int:
    """How often ``byte`` is in ``data[at:end]``."""
    n = 0
    while at + 8 <= end:
        n += marked(equal_to(_loaded(data, at), byte))
        at += 8
    while at < end:
        n += data[at] == byte
        at += 1
    return n


@inner
def count_characters(data: Bytes, at: int, end: int) -> int:
    """Characters that begin in ``data[at:end]``."""
    n = end - at
    while at + 8 <= end:
        n -= marked(continuations(_loaded(data, at)))
        at += 8
    while at < end:
        n -= data[at] & 0xC0 == 0x80
        at += 1
    return n


@tiny
def hash_of(group: np.uint64, size: int) -> np.uint64:
    """:func:`hash_bytes` of the first ``size`` bytes, 0 to 8, of a group whose others are 0."""
    h = _folded(_BASIS ^ (np.uint64(size) * _LENGTH) ^ group, _FACTOR)
    return h if h else _ONE


@tiny
def hash_bytes(data: Bytes, start: int, end: int) -> np.uint64:
    """64-bit hash of ``data[start:end]``, never 0."""
    h = _BASIS ^ (np.uint64(end - start) * _LENGTH)
    at = start
    while end - at > 8:
        h = _folded(h ^ _loaded(data, at), _FACTOR)
        at += 8
    rest = np.uint64(end - at)
    group = np.uint64(0)
    if at + 8 <= data.shape[0]:
        if rest:
            group = _loaded(data, at) & (_ALL >> (np.uint64(64) - (rest << np.uint64(3))))
    else:
        for k in range(end - at):
            group |= np.uint64(data[at + k]) << np.uint64(8 * k)
    h = _folded(h ^ group, _FACTOR)
    return h if h else _ONE

"""tanh and the logistic function in plain arithmetic, so that a compiled loop becomes vector code.

The functions of the C library are calls, one number at a time. Here e^y is written as s (1 + p):
s = 2^k is built from the bits of a float, p = e^r - 1 is a polynomial on |r| <= ln(2)/2, and
y = k ln(2) + r. No branch, no table, no call. Errors are a few units in the last place, small
arguments keep their relative accuracy, and NaN stays NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from byways.core.compiled import fusing

__all__ = ["logistic", "tanh"]

_intrinsic: Any = intrinsic  # numba types its own decorator as a function of Python


@_intrinsic
def _bits(typing_context, x):
    """Read a float as the integer of its size."""
    result = types.int32 if x == types.float32 else types.int64
    return result(x), _bitcast


@_intrinsic
def _float_of_bits(typing_context, x):
    """Read an integer as the float of its size."""
    result = types.float32 if x == types.int32 else types.float64
    return result(x), _bitcast


def _bitcast(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))


# Adding 1.5 * 2^(mantissa bits) rounds to an integer and leaves it in the low bits, so fused
# multiply-adds are all that the compiler may do. ln(2) is split into a part with trailing zeros and
# a rest, so that k * part is exact.
_LOG2E = math.log2(math.e)
_ROUND_32, _ROUND_64 = np.float32(1.5 * 2**23), 1.5 * 2**52
_LOG2E_32, _LOG2E_64 = np.float32(_LOG2E), _LOG2E
_HIGH_32, _HIGH_64 = np.float32(355 / 512), float.fromhex("0x1.62e42feep-1")
_LOW_32, _LOW_64 = np.float32(math.log(2.0) - 355 / 512), float.fromhex("0x1.a39ef35793c76p-33")
_A2, _A3, _A4, _A5, _A6, _A7 = (np.float32(1 / math.factorial(n)) for n in range(2, 8))
_B2, _B3, _B4, _B5, _B6, _B7, _B8, _B9, _B10, _B11, _B12, _B13 = (
    1 / math.factorial(n) for n in range(2, 14)
)
_ONE_32, _TWO_32 = np.float32(1.0), np.float32(2.0)
_TANH_LIMIT_32, _EXP_LIMIT_32 = np.float32(20.0), np.float32(87.0)
_TANH_LIMIT_64, _EXP_LIMIT_64 = 40.0, 708.0
_BIAS_32, _SHIFT_32 = np.int32(127), np.int32(23)


@fusing
def _exp_parts_32(y):
    """Give p and s with e^y = s (1 + p)."""
    shifted = y * _LOG2E_32 + _ROUND_32
    k = shifted - _ROUND_32
    r = (y - k * _HIGH_32) - k * _LOW_32
    p = ((((_A7 * r + _A6) * r + _A5) * r + _A4) * r + _A3) * r + _A2
    # The casts keep 32 bits: numba adds two int32 as int64.
    exponent = np.int32(_bits(shifted) + _BIAS_32)
    return p * r * r + r, _float_of_bits(np.int32(exponent << _SHIFT_32))


@fusing
def _exp_parts_64(y):
    """Give p and s with e^y = s (1 + p)."""
    shifted = y * _LOG2E_64 + _ROUND_64
    k = shifted - _ROUND_64
    r = (y - k * _HIGH_64) - k * _LOW_64
    p = ((((_B13 * r + _B12) * r + _B11) * r + _B10) * r + _B9) * r + _B8
    p = (((((p * r + _B7) * r + _B6) * r + _B5) * r + _B4) * r + _B3) * r + _B2
    return p * r * r + r, _float_of_bits((_bits(shifted) + 1023) << 52)


@fusing
def _tanh_32(x):
    y = x + x
    y = _TANH_LIMIT_32 if y > _TANH_LIMIT_32 else y  # this way round NaN passes
    y = -_TANH_LIMIT_32 if y < -_TANH_LIMIT_32 else y
    p, s = _exp_parts_32(y)
    e = s * p + (s - _ONE_32)  # e^y - 1 without cancellation near 0
    return e / (e + _TWO_32)


@fusing
def _tanh_64(x):
    y = x + x
    y = _TANH_LIMIT_64 if y > _TANH_LIMIT_64 else y
    y = -_TANH_LIMIT_64 if y < -_TANH_LIMIT_64 else y
    p, s = _exp_parts_64(y)
    e = s * p + (s - 1.0)
    return e / (e + 2.0)


@fusing
def _logistic_32(x):
    y = -x
    y = _EXP_LIMIT_32 if y > _EXP_LIMIT_32 else y
    y = -_EXP_LIMIT_32 if y < -_EXP_LIMIT_32 else y
    p, s = _exp_parts_32(y)
    return _ONE_32 / (_ONE_32 + (s * p + s))


@fusing
def _logistic_64(x):
    y = -x
    y = _EXP_LIMIT_64 if y > _EXP_LIMIT_64 else y
    y = -_EXP_LIMIT_64 if y < -_EXP_LIMIT_64 else y
    p, s = _exp_parts_64(y)
    return 1.0 / (1.0 + (s * p + s))


def tanh(x: float) -> float:
    """Give the hyperbolic tangent; compiled code gets the arithmetic above."""
    return math.tanh(x)


def logistic(x: float) -> float:
    """Give the logistic function; compiled code gets the arithmetic above."""
    return 0.5 + 0.5 * math.tanh(0.5 * x)


@overload(tanh)
def _choose_tanh(x):
    if x == types.float32:
        return lambda x: _tanh_32(x)
    return lambda x: _tanh_64(x)


@overload(logistic)
def _choose_logistic(x):
    if x == types.float32:
        return lambda x: _logistic_32(x)
    return lambda x: _logistic_64(x)

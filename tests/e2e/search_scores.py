"""Scores of the search reference: 32-bit floats, each with a bound of how far a right answer may be off.

Sums, products and quotients of floats are exact in every implementation. Square roots of cosine, logarithms and
exponentials are not: their last bits differ, and an operator behind them may make much of it. So a score carries the
bound along. Two scores with one `origin` come of one computation on equal inputs: they tie, whatever the bound.
"""

from __future__ import annotations

import ctypes
import math
from typing import NamedTuple

# Relative error of exp and log, with room to spare over the half unit in the last place of a good one.
FUNCTION_ERROR = 1e-6
EPSILON = 2.0**-23
F32_MAX = 3.4028234663852886e38


def f32(x: float) -> float:
    """The nearest 32-bit float; beyond its range an infinity."""
    return ctypes.c_float(x).value


class Score(NamedTuple):
    """A number, and how far another implementation's may be away; infinite: it may be anything."""

    value: float
    error: float
    origin: object

    def low(self) -> tuple[int, float, int]:
        return self._key(-self.error, 0)

    def high(self) -> tuple[int, float, int]:
        return self._key(self.error, 1)

    def _key(self, off: float, edge: int) -> tuple[int, float, int]:
        """Place in the order -inf … -0.0 < +0.0 … +inf, with NaN last."""
        if math.isnan(self.value):
            return (1, 0.0, 0)
        if self.error:
            return (0, self.value + off, edge)
        return (0, self.value, 0 if self.value == 0 and math.copysign(1, self.value) < 0 else 1)

    def key(self) -> tuple[int, float, int]:
        return Score(self.value, 0.0, None).low()

    def ties(self, other: Score) -> bool:
        return self.origin == other.origin or not self.error and not other.error and self.key() == other.key()

    def is_wild(self) -> bool:
        return math.isinf(self.error)


def exact(value: float) -> Score:
    return Score(value, 0.0, repr(value))


def _result(value: float, error: float, origin: object) -> Score:
    """Rounds. A result beyond f32 is certain only where it would be so whatever the errors of its operands."""
    rounded = f32(value)
    if error and math.isinf(f32(abs(value) - error)) != math.isinf(f32(abs(value) + error)):
        error = math.inf
    if error and not math.isinf(error):
        error = 0.0 if not math.isfinite(rounded) else error + abs(rounded) * EPSILON + 1e-44
    return Score(rounded, error, origin if error else repr(rounded))


def _special(operands: tuple[Score, ...], value: float, origin: object) -> Score:
    """A result of which an operand or itself is not finite, from exact operands; anything else is uncertain."""
    uncertain = any(operand.error and math.isfinite(operand.value) for operand in operands) and math.isnan(value)
    return Score(value, math.inf if uncertain else 0.0, origin if uncertain else repr(value))


def _binary(op: str, a: Score, b: Score) -> Score:
    origin = (op, a.origin, b.origin)
    if a.is_wild() or b.is_wild():
        return Score(math.nan, math.inf, origin)
    x, y = a.value, b.value
    if op in ("max", "min"):
        return _extreme(op, a, b, origin)
    if op == "div":
        return _quotient(a, b, origin)
    value = {"add": lambda: x + y, "sub": lambda: x - y, "mul": lambda: x * y}[op]()
    if not (math.isfinite(x) and math.isfinite(y)):
        # An infinity times something that may be 0 or of either sign.
        loose = [s for s in (a, b) if s.error and abs(s.value) <= s.error]
        return Score(math.nan, math.inf, origin) if op == "mul" and loose else _special((a, b), value, origin)
    error = a.error + b.error if op != "mul" else abs(x) * b.error + abs(y) * a.error + a.error * b.error
    return _result(value, error, origin)


def _extreme(op: str, a: Score, b: Score, origin: object) -> Score:
    if math.isnan(a.value) or math.isnan(b.value):
        return b if math.isnan(a.value) else a
    if not (a.error or b.error):
        return max(a, b, key=Score.key) if op == "max" else min(a, b, key=Score.key)
    if a.low() > b.high() or b.low() > a.high():
        return a if (a.low() > b.high()) == (op == "max") else b
    return Score(max(a.value, b.value) if op == "max" else min(a.value, b.value), max(a.error, b.error), origin)


def _quotient(a: Score, b: Score, origin: object) -> Score:
    x, y = a.value, b.value
    if b.error and math.isfinite(y) and abs(y) <= b.error:
        return Score(math.nan, math.inf, origin)
    if y == 0:
        if a.error and abs(x) <= a.error:
            return Score(math.nan, math.inf, origin)
        value = math.nan if x == 0 or math.isnan(x) else math.copysign(math.inf, x) * math.copysign(1, y)
        return Score(value, 0.0, repr(value))
    if not (math.isfinite(x) and math.isfinite(y)):
        return _special((a, b), x / y, origin)
    value = x / y
    error = (a.error + abs(value) * b.error) / (abs(y) - b.error) if a.error or b.error else 0.0
    return _result(value, error, origin)


def add(a: Score, b: Score) -> Score:
    return _binary("add", a, b)


def sub(a: Score, b: Score) -> Score:
    return _binary("sub", a, b)


def mul(a: Score, b: Score) -> Score:
    return _binary("mul", a, b)


def div(a: Score, b: Score) -> Score:
    return _binary("div", a, b)


def largest(a: Score, b: Score) -> Score:
    return _binary("max", a, b)


def smallest(a: Score, b: Score) -> Score:
    return _binary("min", a, b)


def absolute(a: Score) -> Score:
    return Score(abs(a.value), a.error, ("abs", a.origin) if a.error else repr(abs(a.value)))


def exponential(a: Score) -> Score:
    origin = ("exp", a.origin)
    if a.is_wild():
        return Score(math.nan, math.inf, origin)
    if not math.isfinite(a.value):
        value = {math.inf: math.inf, -math.inf: 0.0}.get(a.value, math.nan)
        return Score(value, 0.0, repr(value))
    if a.value > 700:
        return Score(math.inf, 0.0, repr(math.inf))
    value = math.exp(a.value)
    error = value * (math.expm1(min(a.error, 1.0)) + FUNCTION_ERROR)
    return _result(value, math.inf if a.error > 1 else error, origin)


def logarithm(a: Score) -> Score:
    origin = ("log", a.origin)
    if a.is_wild() or a.error and math.isfinite(a.value) and abs(a.value) <= a.error:
        return Score(math.nan, math.inf, origin)
    if math.isnan(a.value) or a.value < 0:
        return Score(math.nan, 0.0, repr(math.nan))
    if a.value == 0 or math.isinf(a.value):
        value = -math.inf if a.value == 0 else math.inf
        return Score(value, 0.0, repr(value))
    value = math.log(a.value)
    return _result(value, a.error / (a.value - a.error) + abs(value) * FUNCTION_ERROR, origin)

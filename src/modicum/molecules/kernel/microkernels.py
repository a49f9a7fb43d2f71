"""Microkernels: positive semi-definite functions of two attributes, and what they become for a node or an edge.

The names are those of GraphDot (Tang and de Jong 2019), whose users know them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, Self, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from modicum.errors import ConfigError
from modicum.molecules.functional import FloatArray
from modicum.molecules.kernel.features import Attribute

Bounds: TypeAlias = tuple[float, float] | Literal["fixed"]


class Microkernel(Protocol):
    """A kernel on the values of one attribute, with at most one number that can be learnt."""

    @property
    def value(self) -> float:
        """The number that can be learnt."""
        ...

    @property
    def bounds(self) -> Bounds:
        """Within which it may be learnt."""
        ...

    def table(self, rows: Sequence[Attribute], columns: Sequence[Attribute]) -> FloatArray:
        """Give the kernel of each two values, shape (rows, columns)."""
        ...

    def slope(self, rows: Sequence[Attribute], columns: Sequence[Attribute]) -> FloatArray:
        """Give the derivative by `value` of each entry of the table, of the same shape."""
        ...

    def with_value(self, value: float) -> Self:
        """Give the same kernel with another number."""
        ...


@dataclass(frozen=True, slots=True)
class KroneckerDelta:
    """1 if two values are equal, else h.

    Args:
        value: h, in [0, 1].
        bounds: of h, or "fixed".

    Raises:
        ConfigError: if h is outside [0, 1].

    Example:
        >>> KroneckerDelta(0.9).table([6, 8], [6])[:, 0].tolist()
        [1.0, 0.9]
    """

    value: float
    bounds: Bounds = "fixed"

    def __post_init__(self) -> None:
        _check("h of KroneckerDelta", self.value, self.bounds, largest=1.0)

    def table(self, rows: Sequence[Attribute], columns: Sequence[Attribute]) -> FloatArray:
        """Give the kernel of each two values."""
        return np.where(_equal(rows, columns), 1.0, self.value)

    def slope(self, rows: Sequence[Attribute], columns: Sequence[Attribute]) -> FloatArray:
        """Give the derivative by h: 1 where the values differ."""
        return np.where(_equal(rows, columns), 0.0, 1.0)

    def with_value(self, value: float) -> Self:
        """Give the same kernel with another h."""
        return replace(self, value=value)


@dataclass(frozen=True, slots=True)
class SquareExponential:
    """exp(-(x - y)^2 / (2 l^2)) of two numbers.

    Args:
        value: the length l, > 0, in the unit of the attribute.
        bounds: of l, or "fixed".

    Raises:
        ConfigError: if l is not positive.
    """

    value: float
    bounds: Bounds = "fixed"

    def __post_init__(self) -> None:
        _check("length of SquareExponential", self.value, self.bounds, largest=math.inf)
        if not self.value:
            raise ConfigError("The length of SquareExponential must be > 0, got 0.", hint="Give a positive length.")

    def table(self, rows: Sequence[Attribute], columns: Sequence[Attribute]) -> FloatArray:
        """Give the kernel of each two values."""
        return np.exp(-_squares(rows, columns) / (2 * self.value**2))

    def slope(self, rows: Sequence[Attribute], columns: Sequence[Attribute]) -> FloatArray:
        """Give the derivative by l."""
        return self.table(rows, columns) * _squares(rows, columns) / self.value**3

    def with_value(self, value: float) -> Self:
        """Give the same kernel with another length."""
        return replace(self, value=value)


@dataclass(frozen=True, slots=True)
class Convolution:
    """The mean of a microkernel over all pairs of the elements of two lists.

    Args:
        base: the microkernel of two elements.

    Example:
        >>> Convolution(KroneckerDelta(0.5)).table([(6, 6)], [(6, 8)]).item()
        0.75
    """

    base: Microkernel

    @property
    def value(self) -> float:
        """The number of the base."""
        return self.base.value

    @property
    def bounds(self) -> Bounds:
        """The bounds of the base."""
        return self.base.bounds

    def table(self, rows: Sequence[Attribute], columns: Sequence[Attribute]) -> FloatArray:
        """Give the kernel of each two lists."""
        return _mean_over_pairs(self.base.table, rows, columns)

    def slope(self, rows: Sequence[Attribute], columns: Sequence[Attribute]) -> FloatArray:
        """Give the derivative by the number of the base."""
        return _mean_over_pairs(self.base.slope, rows, columns)

    def with_value(self, value: float) -> Self:
        """Give the same kernel with another number in the base."""
        return replace(self, base=self.base.with_value(value))


@dataclass(frozen=True, slots=True)
class Constant:
    """The same number for all values.

    Args:
        value: in [0, 1] inside a node or edge kernel; any positive number as a starting probability.
        bounds: of it, or "fixed".

    Raises:
        ConfigError: if it is negative or not finite.
    """

    value: float
    bounds: Bounds = "fixed"

    def __post_init__(self) -> None:
        _check("value of Constant", self.value, self.bounds, largest=math.inf)

    def table(self, rows: Sequence[Attribute], columns: Sequence[Attribute]) -> FloatArray:
        """Give the kernel of each two values."""
        return np.full((len(rows), len(columns)), self.value)

    def slope(self, rows: Sequence[Attribute], columns: Sequence[Attribute]) -> FloatArray:
        """Give the derivative by the constant: 1."""
        return np.ones((len(rows), len(columns)))

    def with_value(self, value: float) -> Self:
        """Give the same kernel with another constant."""
        return replace(self, value=value)


@dataclass(frozen=True)
class Composite:
    """Microkernels of named attributes, joined into the kernel of two nodes or two edges."""

    parts: Mapping[str, Microkernel] = field(default_factory=dict[str, Microkernel])  # by name of the attribute
    rule: Literal["product", "sum"] = "product"  # "product" or "sum"

    def __post_init__(self) -> None:
        if not self.parts:
            raise ConfigError("A kernel of nodes or edges needs a part, got none.", hint="Name at least one attribute.")
        if self.rule not in get_args(Literal["product", "sum"]):
            raise ConfigError(f"There is no rule {self.rule!r}.", hint="Use product or sum.")

    def with_values(self, values: Mapping[str, float]) -> Self:
        """Give the same kernel with other numbers in the parts that are named."""
        parts = {name: part.with_value(values[name]) if name in values else part for name, part in self.parts.items()}
        return replace(self, parts=parts)


def TensorProduct(**parts: Microkernel) -> Composite:  # noqa: N802 - the name that users of GraphDot know
    """Multiply the microkernels of named attributes.

    Args:
        parts: a microkernel for each attribute, by its name.
    """
    return Composite(parts, "product")


def Additive(**parts: Microkernel) -> Composite:  # noqa: N802 - the name that users of GraphDot know
    """Add the microkernels of named attributes.

    Args:
        parts: a microkernel for each attribute, by its name.
    """
    return Composite(parts, "sum")


def _check(name: str, value: float, bounds: Bounds, *, largest: float) -> None:
    if not (math.isfinite(value) and 0 <= value <= largest):
        limits = f"in [0, {largest:g}]" if math.isfinite(largest) else ">= 0"
        raise ConfigError(f"The {name} must be {limits}, got {value}.", hint="Give a number in that range.")
    if bounds != "fixed" and not 0 < bounds[0] <= bounds[1]:
        raise ConfigError(
            f"The bounds of the {name} must be 0 < low <= high, got {bounds}.", hint='Give such a pair, or "fixed".'
        )


def _equal(rows: Sequence[Attribute], columns: Sequence[Attribute]) -> npt.NDArray[np.bool_]:
    codes = {value: code for code, value in enumerate({*rows, *columns})}
    left, right = (np.array([codes[value] for value in values]) for values in (rows, columns))
    return left[:, None] == right


def _squares(rows: Sequence[Attribute], columns: Sequence[Attribute]) -> FloatArray:
    left, right = (np.array(values, dtype=np.float64) for values in (rows, columns))
    return (left[:, None] - right) ** 2


def _mean_over_pairs(
    function: Callable[[Sequence[int], Sequence[int]], FloatArray],
    rows: Sequence[Attribute],
    columns: Sequence[Attribute],
) -> FloatArray:
    # One table over all distinct elements, weighted on both sides by how often each occurs in a list.
    elements = sorted({element for values in (*rows, *columns) for element in _listed(values)})
    left, right = _shares(rows, elements), _shares(columns, elements)
    return left @ function(elements, elements) @ right.T


def _shares(lists: Sequence[Attribute], elements: Sequence[int]) -> FloatArray:
    places = {element: place for place, element in enumerate(elements)}
    shares = np.zeros((len(lists), len(elements)))
    for row, values in zip(shares, lists, strict=True):
        listed = _listed(values)
        for element in listed:
            row[places[element]] += 1 / len(listed)
    return shares


def _listed(value: Attribute) -> tuple[int, ...]:
    if not isinstance(value, tuple) or not value:
        raise ConfigError(f"Convolution takes lists with elements, got {value!r}.", hint="Use it on a list attribute.")
    return value

"""All alkanes: every constitutional isomer once, put together from branches at the middle of the molecule.

A tree has one middle, its centroid (Jordan 1869): either one atom whose branches each hold less than half of the
atoms, or one bond with half of the atoms at either end. So an alkane is a set of at most four branches at one carbon,
or two branches of equal size joined by a bond; a branch is a set of at most three smaller ones. Nothing is made twice,
so nothing has to be compared, and the branches of C19 (up to nine carbons, 372 of them) are all that is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modicum.errors import ConfigError

LARGEST = 30
"""Carbons of the largest alkanes that are listed: C30 alone has 4,111,846,763 isomers, which is hours of work."""

_COUNTED = 60  # enough to tell anybody that it is too much

Branches = Sequence[Sequence[str]]
"""Branches by their number of carbons: SMILES that begin at the atom by which they are bound."""


def enumerate_alkanes(smallest: int = 4, largest: int = 19) -> Iterator[str]:
    """Stream the constitutional isomers of the acyclic alkanes, without stereochemistry.

    Args:
        smallest: carbon atoms of the first molecules.
        largest: carbon atoms of the last ones, at most 30.

    Returns:
        One SMILES a molecule, in the order of the carbon number. Order and strings never change: the string of a
        molecule begins at its middle and has its larger branches later. It is not the canonical SMILES of RDKit.

    Raises:
        ConfigError: if there are no such sizes, or too many molecules of them.

    Example:
        >>> list(enumerate_alkanes(4, 5))
        ['C(C)(C)C', 'C(CC)C', 'C(C)(C)(C)C', 'C(C)(C)CC', 'C(CC)CC']
    """
    if smallest < 1 or largest < smallest:
        raise ConfigError(
            f"Sizes must run from at least 1 carbon upwards, got {smallest} to {largest}.",
            hint="Give the smaller number of carbons first.",
        )
    if largest > LARGEST:
        size = min(largest, _COUNTED)
        raise ConfigError(
            f"Alkanes are listed up to {LARGEST} carbons, got {largest}; C{size} alone has {count_alkanes(size):,} "
            "isomers.",
            hint="Give a smaller largest size: C19 has 148,284 isomers, and each carbon more has 2.5 times as many.",
        )
    return _stream(smallest, largest)


def count_alkanes(carbons: int) -> int:
    """Count the constitutional isomers of one size without listing them."""
    # Pólya's theorem counts the sets of branches at one atom, and Otter's, that a tree has one more kind of atoms than
    # of bonds whose two ends differ, turns rooted into unrooted ones. The listing knows neither.
    if carbons < 1:
        raise ConfigError(f"An alkane has at least 1 carbon, got {carbons}.", hint="Give a positive number of carbons.")
    one = [1]  # kinds of branches by their carbons; none at all, a hydrogen, is a kind
    for size in range(1, carbons):
        two, three = (_stretched(one, by) for by in (2, 3))
        one.append((_last(_times(one, one), one) + 3 * _last(one, two) + 2 * three[size - 1]) // 6)
    two, three, four = (_stretched(one, by) for by in (2, 3, 4))
    squares = _times(one, one)
    at_atoms = (
        _last(squares, squares) + 6 * _last(squares, two) + 3 * _last(two, two) + 8 * _last(one, three) + 6 * four[-1]
    ) // 24
    bonds = _last(one[1:], one[1:])
    alike = one[carbons // 2] if carbons % 2 == 0 else 0
    return at_atoms - (bonds - alike) // 2


def _stretched(series: Sequence[int], by: int) -> list[int]:
    """Give the coefficients of f(x**by) from those of f(x), as many."""
    return [series[power // by] if power % by == 0 else 0 for power in range(len(series))]


def _times(left: Sequence[int], right: Sequence[int]) -> list[int]:
    """Multiply two power series, as far as they are known."""
    return [_last(left[:terms], right[:terms]) for terms in range(1, len(left) + 1)]


def _last(left: Sequence[int], right: Sequence[int]) -> int:
    """Give the last coefficient of the product alone."""
    return sum(a * b for a, b in zip(left, reversed(right), strict=True))


def _stream(smallest: int, largest: int) -> Iterator[str]:
    branches = _branches(largest // 2)
    for carbons in range(smallest, largest + 1):
        half = (carbons - 1) // 2
        for around in _sets(carbons - 1, 4, half, len(branches[half]), branches):
            yield _atom(around)
        if carbons % 2 == 0:
            yield from _bonds(branches[carbons // 2])


def _branches(largest: int) -> Branches:
    made: list[list[str]] = [[], ["C"]]
    for carbons in range(2, largest + 1):
        made.append([_atom(around) for around in _sets(carbons - 1, 3, carbons - 1, len(made[-1]), made)])
    return made


def _sets(carbons: int, places: int, size: int, before: int, branches: Branches) -> Iterator[tuple[str, ...]]:
    """Choose the branches of one atom, the largest first; a set comes once since none comes after its neighbour."""
    if carbons == 0:
        yield ()
        return
    for next_size in range(-(-carbons // places), min(size, carbons) + 1):
        group = branches[next_size]
        for place in range(before if next_size == size else len(group)):
            for others in _sets(carbons - next_size, places - 1, next_size, place + 1, branches):
                yield (group[place], *others)


def _atom(around: tuple[str, ...]) -> str:
    """Write a carbon with its branches; the first, the largest, needs no bracket and comes last."""
    if not around:
        return "C"
    return "".join(["C", *[f"({branch})" for branch in reversed(around[1:])], around[0]])


def _bonds(halves: Sequence[str]) -> Iterator[str]:
    """Join each pair of halves, a half with itself too, by a bond between their first atoms."""
    for place, half in enumerate(halves):
        rest = half[1:]
        for other in halves[: place + 1]:
            yield f"C({other}){rest}" if rest else f"C{other}"

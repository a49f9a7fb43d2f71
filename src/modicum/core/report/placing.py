"""Where the labels of points go, so that none covers a point or another label."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_DIRECTIONS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """An upright rectangle."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: Box) -> bool:
        """Say whether two boxes share more than an edge."""
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )


def place_labels(
    points: Sequence[tuple[float, float]], *, size: tuple[float, float], room: Box, mark: float = 9.0
) -> list[tuple[float, float]]:
    """Find the centre of one label for each point, as near to it as the others allow."""
    taken = [_around(point, (mark, mark)) for point in points]
    centres: list[tuple[float, float]] = []
    for point in points:
        free = (spot for spot in _spots(point, room) if not any(map(_around(spot, size).meets, taken)))
        centre = next(free)
        taken.append(_around(centre, size))
        centres.append(centre)
    return centres


def _spots(point: tuple[float, float], room: Box) -> Iterator[tuple[float, float]]:
    (x, y), whole_room = point, math.hypot(room.right - room.left, room.top - room.bottom)
    for radius in itertools.count(12.0, 5.0):
        for step in range(_DIRECTIONS):
            angle = math.tau * (step + 1) / _DIRECTIONS
            spot = (x + radius * math.cos(angle), y + radius * math.sin(angle))
            inside = room.left <= spot[0] <= room.right and room.bottom <= spot[1] <= room.top
            if inside or radius > whole_room:
                yield spot


def _around(centre: tuple[float, float], size: tuple[float, float]) -> Box:
    (x, y), (width, height) = centre, size
    return Box(left=x - width / 2, bottom=y - height / 2, right=x + width / 2, top=y + height / 2)

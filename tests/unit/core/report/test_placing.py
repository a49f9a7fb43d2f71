from __future__ import annotations

import itertools

import pytest

from modicum.core.report.placing import Box, place_labels

ROOM = Box(left=0.0, bottom=0.0, right=260.0, top=190.0)
SIZE = (14.0, 12.0)


@pytest.mark.parametrize(
    "points",
    [
        [(100.0, 100.0)] * 10,
        [(100.0 + number, 100.0) for number in range(10)],
        [(0.0, 0.0), (260.0, 190.0), (0.0, 190.0), (260.0, 0.0)],
    ],
    ids=["all in one point", "crowded", "in the corners"],
)
def test_no_label_covers_another_label_or_a_point(points: list[tuple[float, float]]) -> None:
    spots = place_labels(points, size=SIZE, room=ROOM)
    assert len(spots) == len(points)
    for (ax, ay), (bx, by) in itertools.combinations(spots, 2):
        assert abs(ax - bx) >= 13.999 or abs(ay - by) >= 11.999
    for (sx, sy), (px, py) in itertools.product(spots, points):
        assert abs(sx - px) >= 11.499 or abs(sy - py) >= 10.499


def test_labels_stay_in_the_room() -> None:
    for x, y in place_labels([(0.0, 0.0), (260.0, 190.0)], size=SIZE, room=ROOM):
        assert ROOM.left <= x <= ROOM.right
        assert ROOM.bottom <= y <= ROOM.top


def test_a_lonely_label_is_next_to_its_point() -> None:
    ((x, y),) = place_labels([(100.0, 100.0)], size=SIZE, room=ROOM)
    assert max(abs(x - 100), abs(y - 100)) < 20


def test_a_full_room_is_left_rather_than_a_label_dropped() -> None:
    tiny = Box(left=0.0, bottom=0.0, right=10.0, top=10.0)
    assert len(place_labels([(5.0, 5.0)] * 3, size=SIZE, room=tiny)) == 3


def test_boxes_that_share_only_an_edge_do_not_meet() -> None:
    one = Box(left=0, bottom=0, right=1, top=1)
    assert not one.meets(Box(left=1, bottom=0, right=2, top=1))
    assert one.meets(Box(left=0.5, bottom=0.5, right=2, top=2))

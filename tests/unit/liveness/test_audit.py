"""The audit finds what a detector looks at, whatever detector it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modicum.errors import DataError
from modicum.liveness.audit import audit
from modicum.liveness.data import Photo
from modicum.liveness.faces import crop, read_image

SIDE, BOX = 48, (16.0, 16.0, 16.0, 16.0)


def photos(folder: Path) -> list[Photo]:
    """Photos of twenty people: around the face of an attack it is light, and in the face nothing tells."""
    draws = np.random.default_rng(0)
    made: list[Photo] = []
    for row in range(40):
        attack = row % 2
        pixels = draws.integers(60, 120, (SIDE, SIDE, 3)).astype(np.uint8)
        pixels[:12] += np.uint8(90 * attack)
        path = folder / f"{row}.png"
        Image.fromarray(pixels).save(path)
        made.append(Photo(path, "attack" if attack else "bona_fide", "print", f"p{row // 2}", box=BOX))
    return made


@dataclass
class Result:
    score: float | None
    decision: str


class Edge:
    """A detector that looks at what is above a face."""

    def score(self, images: list[Photo]) -> list[Result]:
        values = [crop(read_image(photo.path), photo.box or BOX, 2.5, 64)[:10].mean() for photo in images]
        return [Result(float(-value), "bona_fide" if value < 125 else "attack") for value in values]


def test_a_detector_that_looks_at_the_surroundings_is_found_out(tmp_path: Path) -> None:
    found = audit(Edge(), photos(tmp_path), tmp_path / "out")
    rows = {row.name: row for row in found.rows}
    assert len(rows) == 8
    assert rows["as they are"].auc == rows["face covered"].auc == 1
    assert rows["as they are"].passed == (1, 0)
    assert rows["surroundings covered"].auc == 0.5
    assert rows["colours alone"].interval[0] < 0.9
    assert any("With the face covered it still tells" in sentence for sentence in found.findings)
    assert any("With the surroundings covered it does worse" in sentence for sentence in found.findings)
    page = (tmp_path / "out" / "audit.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert all(name.replace("'", "&#39;") in page for name in rows)
    assert "://" not in page
    assert len(json.loads((tmp_path / "out" / "audit.json").read_text())["rows"]) == 8


def test_both_classes_are_needed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of which is attack"):
        audit(Edge(), photos(tmp_path)[::2], tmp_path / "out")

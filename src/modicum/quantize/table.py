"""A table as plain text."""

from __future__ import annotations

from collections.abc import Sequence


def aligned_rows(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Write rows of cells one below the other, columns aligned to the left."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

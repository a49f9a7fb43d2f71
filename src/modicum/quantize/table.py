"""A table as plain text."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["aligned_rows"]


def aligned_rows(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Write rows of cells one below the other, columns aligned to the left.

    Args:
        rows: of one length, the head first.

    Returns:
        A line for each row.

    Example:
        >>> aligned_rows([("layer", "bits"), ("stem", "8")])
        ['layer  bits', 'stem   8']
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

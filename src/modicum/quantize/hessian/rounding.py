"""Whole weights under a quadratic objective: a pass that passes errors on, then descent by one weight and by two."""

from __future__ import annotations

import torch
from torch import Tensor


def quadratic(error: Tensor, gram: Tensor) -> Tensor:
    """Give e S e' of each row."""
    return ((error @ gram) * error).sum(-1)


def pass_on(wanted: Tensor, gram: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Round one weight after another; the weights that are left make up for each error as well as they can."""
    order = gram.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True)
    sorted_gram = gram.gather(1, order[:, :, None].expand_as(gram)).gather(2, order[:, None, :].expand_as(gram))
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(sorted_gram)), upper=True)
    left = wanted.gather(2, order[:, None, :].expand_as(wanted)).repeat(1, scale.shape[1] // wanted.shape[1], 1)
    whole = torch.empty_like(left)
    for place in range(left.shape[2]):
        column = left[:, :, place]
        whole[:, :, place] = torch.round(column / scale).clamp(low, high)
        error = (column - whole[:, :, place] * scale) / upper[:, place, place, None]
        left[:, :, place:] -= error[:, :, None] * upper[:, None, place, place:]
    return torch.empty_like(whole).scatter(2, order[:, None, :].expand_as(whole), whole)


def descend(
    whole: Tensor, wanted: Tensor, gram: Tensor, scale: Tensor, low: Tensor, high: Tensor, *, sweeps: int = 20
) -> Tensor:
    """Set each weight to its best whole value given the others, until nothing changes."""
    # A weight's column lies together, since one weight of all rows is set at a time. The products are those of one grid
    # after the other: a product of more rows may have other last bits.
    rows = wanted.shape[1]
    real = whole * scale[:, :, None]
    slope = torch.cat([(some - wanted) @ gram for some in real.split(rows, 1)], 1)  # half the gradient by the weight
    whole, slope = (it.permute(2, 0, 1).contiguous() for it in (whole, slope))
    curvature = gram.diagonal(dim1=1, dim2=2).T[:, :, None] * scale
    for _ in range(sweeps):
        changed = False
        for place in range(len(whole)):
            old = whole[place]
            best = torch.round(old - slope[place] / curvature[place]).clamp(low, high)
            step = (best - old) * scale
            if not step.any():
                continue
            changed = True
            whole[place] = best
            slope += step * gram[:, place].T[:, :, None]
        if not changed:
            break
    return whole.permute(1, 2, 0).contiguous()


def exchange(
    whole: Tensor, wanted: Tensor, gram: Tensor, scale: Tensor, low: Tensor, high: Tensor, *, steps: int = 100
) -> Tensor:
    """Move two weights by one each, the best pair of a row at a time, until no pair brings anything."""
    # Takes rows k^2 numbers: for layers of few weights a channel, as depthwise ones, where `descend` often ends at a
    # point that no single weight improves.
    whole = whole.clone()
    size = whole.shape[2]
    if size < 2:
        return whole
    diagonal = gram.diagonal(dim1=1, dim2=2)[:, None]
    same = torch.eye(size, dtype=torch.bool, device=whole.device)
    signs = [(1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)]
    for _ in range(steps):
        slope = (whole * scale[..., None] - wanted) @ gram
        single = {sign: _change(sign, slope, diagonal, scale) for sign in (1.0, -1.0)}
        single[1.0] = single[1.0].masked_fill(whole + 1 > high[..., None], torch.inf)
        single[-1.0] = single[-1.0].masked_fill(whole - 1 < low[..., None], torch.inf)
        coupling = 2 * scale[..., None, None].square() * gram[:, None]
        changes = torch.stack(
            [
                (single[i][..., :, None] + single[j][..., None, :] + i * j * coupling).masked_fill(same, torch.inf)
                for i, j in signs
            ]
        )
        least, where = changes.movedim(0, 2).flatten(2).min(2)
        better = least < -1e-12 * quadratic(wanted, gram)
        if not better.any():
            break
        pair = where % (size * size)
        step = torch.tensor(signs, dtype=whole.dtype, device=whole.device)[where // (size * size)]
        step = step * better[..., None]
        whole.scatter_add_(2, torch.stack([pair // size, pair % size], 2), step)
    return whole


def _change(sign: float, slope: Tensor, diagonal: Tensor, scale: Tensor) -> Tensor:
    # Of the objective, by a step of one integer up or down.
    return 2 * sign * scale[..., None] * slope + scale[..., None].square() * diagonal

"""The equations of CubeMLP as pure functions of torch: what runs, without a move of an axis.

A cube lies as (modality, batch, time, channel), and each axis is mixed where it is: time and modality by a
multiplication from the left, (d_out, d_in) times (groups, d_in, rest), the channels by one from the right. A layer norm
that comes first is folded: its scale and shift go into the first affine map, and what is left is to centre the values
and to divide them. Frames that are zero up to the length of the cube are not computed with: they have one value behind
the layer norm, so that one column, the sum of their weights, stands for all of them. Dropout draws a float a value,
where torch's on the CPU draws a double, and is applied as the residual is added.

What was tried and is not here, because it did not pay: one multiplication of the channels for the first map and the
residual (the statistics then have to be applied to all hidden values), and a gradient of `standardise` by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Axis: TypeAlias = Literal["time", "modality", "channel"]
Norm: TypeAlias = Literal["pre", "post", "branch"]
Activation: TypeAlias = Callable[[Tensor], Tensor]
Affine: TypeAlias = tuple[Tensor, Tensor | None]

AXES: dict[Axis, int] = {"time": 1, "modality": 2, "channel": 3}  # of a cube, in the order in which they are mixed


class MixerWeights(NamedTuple):
    """The values of one mixer, of d_in values along its axis to d_out.

    Args:
        first: weight (d_hidden, d_in) and bias (d_hidden,) or None of the first affine map.
        second: weight (d_out, d_hidden) and bias (d_out,) or None of the second.
        norm: weight and bias of the layer norm; (d_in,) each where it comes first, else (d_out,).
        residual: weight (d_out, d_in) of the residual projection, None where x is added as it is.
    """

    first: tuple[Tensor, Tensor | None]
    second: tuple[Tensor, Tensor | None]
    norm: tuple[Tensor, Tensor]
    residual: Tensor | None = None


class Manner(NamedTuple):
    """How a mixer works, apart from its weights.

    Args:
        norm: where the layer norm stands.
        activation: elementwise, between the two affine maps.
        dropout: rate behind the MLP.
        eps: of the layer norm; the released code has 1e-6.
        training: whether anything is dropped out.
    """

    norm: Norm
    activation: Activation
    dropout: float
    eps: float
    training: bool


def mix(x: Tensor, weights: MixerWeights, manner: Manner) -> Tensor:
    """Mix values along the axis on which they lie.

    With norm "pre" it is R x + dropout(MLP(LN x)), with "post" LN(R x + dropout(MLP x)), with "branch"
    R x + dropout(LN(MLP x)), where MLP is fc2(activation(fc1 .)).

    Args:
        x: shape (groups, d_in, rest), mixed along the middle, of which values at the end may be missing, which are
            zeros; or (groups, d_in).
        weights: of the mixer, the same for all groups and all of the rest.
        manner: how it works apart from them.

    Returns:
        Shape (groups, d_out, rest), or (groups, d_out).

    Source:
        "branch" is figure 2 of the paper; "pre" and "post" are the released code.
    """
    rate = manner.dropout if manner.training else 0.0
    first = _behind_norm(x, weights, manner.eps) if manner.norm == "pre" else _affine(x, weights.first)
    branch = _affine(manner.activation(first), weights.second)
    if manner.norm == "branch":
        branch = _layer_norm(branch, weights.norm, manner.eps)
    mixed = _with_residual(branch, x, weights.residual, rate)
    return _layer_norm(mixed, weights.norm, manner.eps) if manner.norm == "post" else mixed


def standardise(x: Tensor, size: int, eps: float) -> tuple[Tensor, Tensor]:
    """Centre values and divide them by their std, zeros behind them included.

    Args:
        x: shape (groups, given, rest).
        size: how many values there are with the zeros behind them.
        eps: added to the variance.

    Returns:
        The values, and what one of the zeros becomes, shape (groups, 1, rest).
    """
    # The squares are those of centred values: the mean of squares less the square of the mean loses digits.
    mean = x.sum(1, keepdim=True) / size
    centred = x - mean
    squares = centred.square().sum(1, keepdim=True) + (size - x.shape[1]) * mean.square()
    scale = torch.rsqrt(squares / size + eps)
    return centred * scale, -mean * scale


def _behind_norm(x: Tensor, weights: MixerWeights, eps: float) -> Tensor:
    """Apply the layer norm and the first affine map."""
    if x.ndim == 2:
        return _affine(_layer_norm(x, weights.norm, eps), weights.first)
    (weight, bias), (scale, shift) = weights.first, weights.norm
    given, size = x.shape[1], weight.shape[1]
    bias = weight @ shift if bias is None else torch.addmv(bias, weight, shift)
    weight = weight * scale
    values, zero = standardise(x, size, eps)
    if given < size:
        values = torch.cat([values, zero], 1)
        weight = torch.cat([weight[:, :given], weight[:, given:].sum(1, keepdim=True)], 1)
    return _affine(values, (weight, bias))


def _layer_norm(x: Tensor, norm: tuple[Tensor, Tensor], eps: float) -> Tensor:
    weight, bias = norm
    if x.ndim == 2:
        return functional.layer_norm(x, x.shape[-1:], weight, bias, eps)
    return standardise(x, x.shape[1], eps)[0] * weight[:, None] + bias[:, None]


def _affine(x: Tensor, map_: Affine) -> Tensor:
    """Apply an affine map along the axis; of fewer values than it has columns, as if zeros came behind them."""
    weight, bias = map_
    if x.ndim == 2:
        return functional.linear(x, weight, bias)
    weight = weight[:, : x.shape[1]].expand(x.shape[0], -1, -1)
    return torch.bmm(weight, x) if bias is None else torch.baddbmm(bias[:, None], weight, x)


def _with_residual(branch: Tensor, x: Tensor, projection: Tensor | None, rate: float) -> Tensor:
    if projection is not None:
        residual = _affine(x, (projection, None))
    else:  # frames that are not given are zeros
        missing = branch.shape[1] - x.shape[1] if x.ndim == 3 else 0
        residual = functional.pad(x, (0, 0, 0, missing)) if missing > 0 else x
    if not rate:
        return residual + branch
    if branch.device.type != "cpu":
        return residual + functional.dropout(branch, rate)
    return torch.addcmul(residual, branch, dropout_mask(branch.detach(), rate), value=1 / (1 - rate))


# One operator also for torch.compile, whose own random numbers take a CPU several times as long.
@torch.library.custom_op("modicum::dropout_mask", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,))
def dropout_mask(like: Tensor, rate: float) -> Tensor:
    """Draw what dropout keeps: 1 with probability 1 - rate, else 0, in the shape of ``like``."""
    return torch.empty_like(like, dtype=torch.float32).uniform_().ge_(rate).to(like.dtype)


@dropout_mask.register_fake
def _(like: Tensor, rate: float) -> Tensor:  # noqa: ARG001 - it has no part in the shape
    return torch.empty_like(like)


def concordance(first: Tensor, second: Tensor, *, eps: float = 0.0) -> Tensor:
    """Compute the concordance correlation coefficient of two series with population moments (ddof 0).

    Args:
        first: shape (n,).
        second: shape (n,).
        eps: added to the denominator, so that two constant series of one value have 0 and not 0/0.

    Returns:
        2 cov(x, y) / (var x + var y + (mean x - mean y)^2), a number in [-1, 1].

    Source:
        Lin (1989), equation of the population coefficient.
    """
    a, b = first - first.mean(), second - second.mean()
    apart = (first.mean() - second.mean()).square()
    return 2 * (a * b).mean() / (a.square().mean() + b.square().mean() + apart + eps)

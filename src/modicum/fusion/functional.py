"""The equations of CubeMLP as pure functions of torch.

A cube has the shape (batch, time, modality, channel), and an MLP of two affine maps mixes it along each axis in turn.
The functions here follow the equations to the letter, by moving an axis to the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from torch import Tensor
from torch.nn import functional

Axis: TypeAlias = Literal["time", "modality", "channel"]
Norm: TypeAlias = Literal["pre", "post", "branch"]
Activation: TypeAlias = Callable[[Tensor], Tensor]

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


def mlp(x: Tensor, weights: MixerWeights, activation: Activation) -> Tensor:
    """Apply two affine maps with an activation between them to the last axis.

    Args:
        x: shape (..., d_in).
        weights: of the mixer.
        activation: elementwise.

    Returns:
        fc2(activation(fc1(x))), shape (..., d_out).
    """
    return functional.linear(activation(functional.linear(x, *weights.first)), *weights.second)


def mix(
    x: Tensor,
    axis: Axis,
    weights: MixerWeights,
    *,
    norm: Norm,
    activation: Activation,
    dropout: float = 0.0,
    eps: float = 1e-6,
    training: bool = False,
) -> Tensor:
    """Mix a cube along one axis.

    Args:
        x: shape (batch, time, modality, channel).
        axis: that is mixed; the same weights serve all places of the other two.
        weights: of the mixer.
        norm: "pre" is R x + dropout(MLP(LN(x))), "post" LN(R x + dropout(MLP(x))), "branch" R x + dropout(LN(MLP(x))).
        activation: elementwise.
        dropout: rate behind the MLP.
        eps: of the layer norm; the released code has 1e-6.
        training: whether anything is dropped out.

    Returns:
        The cube, with d_out places along the axis.

    Source:
        "branch" is figure 2 of the paper; "pre" and "post" are the released code.
    """
    moved = x.movedim(AXES[axis], -1)
    scale = lambda y: functional.layer_norm(y, y.shape[-1:], *weights.norm, eps)
    branch = mlp(scale(moved) if norm == "pre" else moved, weights, activation)
    branch = functional.dropout(scale(branch) if norm == "branch" else branch, dropout, training)
    mixed = branch + (moved if weights.residual is None else functional.linear(moved, weights.residual))
    return (scale(mixed) if norm == "post" else mixed).movedim(-1, AXES[axis])


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

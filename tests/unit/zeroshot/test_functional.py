from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from modicum.core.seeding import torch_generator
from modicum.zeroshot import functional


def normal(*shape: int, stream: str = "") -> Tensor:
    return torch.randn(*shape, generator=torch_generator(0, f"{shape}{stream}"), dtype=torch.float64)


def mlm_gradients(hidden: Tensor, rows: Tensor, targets: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """dL/dh_i = s (sum_u p_iu W_u - W_y) and dL/dW_u = s sum_i (p_iu - [u = y_i]) h_i."""
    surplus = (scale * hidden @ rows.T).softmax(1) - one_hot(targets, len(rows)).to(hidden.dtype)
    return scale * surplus @ rows, scale * surplus.T @ hidden


@pytest.mark.parametrize("scale", [1.0, 16**-0.5])
def test_gradients_of_masked_language_modelling(scale: float) -> None:
    # GO-C1, untied: the rows are a matrix of their own.
    hidden, rows = normal(5, 16).requires_grad_(), normal(30, 16).requires_grad_()
    targets = torch.tensor([3, 0, 29, 3, 7])
    cross_entropy(scale * hidden @ rows.T, targets, reduction="sum").backward()
    of_hidden, of_rows = mlm_gradients(hidden.detach(), rows.detach(), targets, scale)
    torch.testing.assert_close(of_hidden, hidden.grad, rtol=0, atol=1e-12)
    torch.testing.assert_close(of_rows, rows.grad, rtol=0, atol=1e-12)


def test_gradients_of_a_tied_head() -> None:
    # GO-C1, tied: h is a function of the same matrix, here the mean of two rows, and both parts add up.
    rows, targets, inputs = normal(30, 16).requires_grad_(), torch.tensor([1, 2]), torch.tensor([[4, 5], [5, 6]])
    hidden = rows[inputs].mean(1)
    cross_entropy(hidden @ rows.T, targets, reduction="sum").backward()
    of_hidden, of_rows = mlm_gradients(hidden.detach(), rows.detach(), targets)
    expected = of_rows.index_add(0, inputs.flatten(), (of_hidden / 2).repeat_interleave(2, 0))
    torch.testing.assert_close(rows.grad, expected, rtol=0, atol=1e-12)


def projector_on(rows: Tensor) -> Tensor:
    basis = functional.label_subspace(rows)
    return basis.T @ basis


@pytest.mark.parametrize("labels", [2, 5])
def test_label_projector(labels: int) -> None:
    # GO-C12
    rows = normal(labels, 12)
    projector = projector_on(rows)
    torch.testing.assert_close(projector, projector.T)
    torch.testing.assert_close(projector @ projector, projector)
    assert torch.linalg.matrix_rank(projector) == labels - 1
    torch.testing.assert_close((rows[0] - rows[1]) @ projector, rows[0] - rows[1])
    dependent = torch.cat([rows, rows.mean(0, keepdim=True)])
    assert len(functional.label_subspace(dependent)) == labels - 1


def test_only_the_projection_decides() -> None:
    rows, hidden = normal(4, 12), normal(50, 12)
    inside = hidden @ projector_on(rows)
    assert torch.equal((hidden @ rows.T).argmax(1), (inside @ rows.T).argmax(1))


def test_subspace_overlap() -> None:
    axes = torch.eye(4, dtype=torch.float64)
    assert functional.subspace_overlap(axes[:2], axes[:2] * 3 + 1) == pytest.approx(1)
    assert functional.subspace_overlap(axes[:2], axes[2:]) == pytest.approx(0)


def test_consistency_margin() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0]])
    assert functional.consistency_margin(scores, torch.tensor([1, 0])).tolist() == [1.0, -2.0]


def test_kkt_residual_is_the_gradient_of_the_objective() -> None:
    weight, bias = normal(3, 7).requires_grad_(), normal(3).requires_grad_()
    features, labels = normal(40, 7), torch.arange(40) % 3
    (cross_entropy(features @ weight.T + bias, labels) + weight.square().sum() / (2 * 0.7 * 40)).backward()
    assert weight.grad is not None
    assert bias.grad is not None
    expected = max(float(weight.grad.abs().max()), float(bias.grad.abs().max()))
    assert functional.kkt_residual(weight.detach(), bias.detach(), features, labels, 0.7) == pytest.approx(
        expected, rel=1e-12
    )


def test_calibration_identities() -> None:
    # GO-C9
    empty = normal(1, 4)
    on_itself = functional.calibrated(empty, functional.prior_bias(empty)).softmax(1)
    torch.testing.assert_close(on_itself, torch.full_like(empty, 0.25), rtol=1e-14, atol=0)
    scores = normal(6, 4, stream="scores")
    assert torch.equal(functional.calibrated(scores, torch.zeros(4, dtype=torch.float64)), scores)
    torch.testing.assert_close(functional.prior_bias(scores).exp(), scores.softmax(1).mean(0))


def test_conformal_threshold() -> None:
    values = torch.arange(1, 20).double()  # 19 rows: ceil(20 * 0.9) = 18
    assert functional.conformal_threshold(values.flip(0), 0.1) == 18
    assert functional.conformal_threshold(values, 0.04) == math.inf
    drawn = torch.rand(4000, 100, generator=torch_generator(0, "rows"), dtype=torch.float64)
    exceeded = [float(row[-1] > functional.conformal_threshold(row[:-1], 0.1)) for row in drawn]
    assert sum(exceeded) / len(exceeded) == pytest.approx(0.1, abs=0.02)

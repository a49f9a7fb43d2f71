"""What a prediction costs."""

from __future__ import annotations

import pytest
import torch

from modicum.errors import ConfigError, DataError
from modicum.fusion.modeling import prediction_loss

LOGITS = torch.tensor([[1.0, 0.0], [3.0, 2.0], [2.0, 4.0]], dtype=torch.float64)
TARGETS = torch.tensor([[2.0, 0.0], [1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)


def test_errors_are_means_over_samples_and_targets() -> None:
    assert prediction_loss("mae", LOGITS, TARGETS).item() == pytest.approx((1 + 2 + 3) / 6)
    assert prediction_loss("mse", LOGITS, TARGETS).item() == pytest.approx((1 + 4 + 9) / 6)


def test_labels_of_one_target_may_be_flat() -> None:
    loss = prediction_loss("mae", LOGITS[:, :1], TARGETS[:, 0].float())
    assert loss.item() == pytest.approx(1.0)
    assert loss.dtype == torch.float64


def test_ccc_is_the_mean_over_targets() -> None:  # CUBEMLP-C9
    series = torch.tensor([-1.0, 0.0, 1.0])
    logits = torch.stack([series, -series, series + 2], 1)
    truth = torch.stack([series, series, series], 1)
    variance = 2 / 3
    wanted = [0.0, 2.0, 1 - 2 * variance / (2 * variance + 4)]
    assert prediction_loss("ccc", logits, truth).item() == pytest.approx(sum(wanted) / 3, abs=1e-6)


def test_ccc_of_constant_batches_has_a_value_and_a_gradient() -> None:
    logits = torch.ones(4, 1, requires_grad=True)
    loss = prediction_loss("ccc", logits, torch.ones(4))
    loss.backward()
    assert loss.item() == 1.0
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_cross_entropy_of_even_logits_is_the_logarithm_of_the_classes() -> None:
    loss = prediction_loss("cross_entropy", torch.zeros(3, 4), torch.tensor([0, 3, 1]))
    assert loss.item() == pytest.approx(torch.tensor(4.0).log().item())


@pytest.mark.parametrize(
    ("loss", "labels", "message"),
    [
        ("mae", torch.tensor([[0.0, 1.0], [0.0, float("nan")], [0.0, 1.0]]), "sample 1 of the batch is not finite"),
        ("mse", torch.full((3, 2), torch.inf), "sample 0 of the batch is not finite"),
        ("mae", torch.zeros(3), r"Labels of shape \(3, 2\) were expected, got \(3,\)"),
        ("mae", torch.zeros(2, 3), r"Labels of shape \(3, 2\) were expected, got \(2, 3\)"),
        ("cross_entropy", torch.tensor([0, 1, 2]), "Sample 2 of the batch has the class 2 of 2"),
        ("cross_entropy", torch.tensor([0, -1, 1]), "Sample 1 of the batch has the class -1 of 2"),
        ("cross_entropy", torch.tensor([0.0, 1.0, 1.0]), "Classes as integers"),
    ],
)
def test_labels_that_no_loss_can_be_made_of_are_refused(loss: str, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prediction_loss(loss, LOGITS, labels)  # type: ignore[arg-type]


def test_ccc_of_one_sample_is_refused() -> None:
    with pytest.raises(ConfigError, match="compares the samples of a batch, which has 1"):
        prediction_loss("ccc", torch.zeros(1, 1), torch.zeros(1))

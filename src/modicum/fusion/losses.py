"""What a prediction costs, and labels that no loss can be made of."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from modicum.errors import ConfigError, DataError
from modicum.fusion.configuration import Loss
from modicum.fusion.functional import concordance

_CCC_EPS = 1e-8  # ours: so that a constant batch costs 1 and not 0/0


def prediction_loss(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    """Compute what a batch of predictions costs."""
    if loss == "cross_entropy":
        return functional.cross_entropy(logits, _classes(labels, logits.shape))
    targets = _targets(labels, logits)
    match loss:
        case "mae":
            return functional.l1_loss(logits, targets)
        case "mse":
            return functional.mse_loss(logits, targets)
        case "ccc":
            return _ccc_loss(logits, targets)


def _ccc_loss(logits: Tensor, targets: Tensor) -> Tensor:
    if len(logits) < 2:
        raise ConfigError(
            f"The loss 'ccc' compares the samples of a batch, which has {len(logits)}.",
            hint="Use batches of 2 samples or more, or the loss 'mae'.",
        )
    columns = zip(logits.unbind(1), targets.unbind(1), strict=True)
    return torch.stack([1 - concordance(*pair, eps=_CCC_EPS) for pair in columns]).mean()


def _targets(labels: Tensor, logits: Tensor) -> Tensor:
    if labels.numel() != logits.numel() or len(labels) != len(logits):
        raise DataError(
            f"Labels of shape {tuple(logits.shape)} were expected, got {tuple(labels.shape)}.",
            hint="Give a number for each sample and output.",
        )
    targets = labels.to(logits.dtype).reshape(logits.shape)
    if not targets.isfinite().all():
        row = int((~targets.isfinite()).any(1).nonzero()[0])
        raise DataError(f"The label of sample {row} of the batch is not finite.", hint="Leave out what has no label.")
    return targets


def _classes(labels: Tensor, shape: torch.Size) -> Tensor:
    if labels.shape != shape[:1] or labels.is_floating_point():
        raise DataError(
            f"Classes as integers of shape {tuple(shape[:1])} were expected, got {labels.dtype} of shape "
            f"{tuple(labels.shape)}.",
            hint="Give the number of its class for each sample, or use a loss of targets.",
        )
    wrong = (labels < 0) | (labels >= shape[1])
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise DataError(
            f"Sample {row} of the batch has the class {int(labels[row])} of {shape[1]}.",
            hint=f"Number the classes from 0 to {shape[1] - 1}, or set outputs.",
        )
    return labels.long()

"""The neighbours of HyPe: regularisers that perturb something else, as losses and as one change of the weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from modicum.errors import ModelError

__all__ = ["disagreement", "noisy_tune_", "r3f_loss", "r_drop_loss", "symmetric_kl"]


def symmetric_kl(first: Tensor, second: Tensor) -> Tensor:
    """Compute KL(p || q) + KL(q || p) of the softmaxes of two sets of logits, mean over the examples.

    Args:
        first: logits of p, shape (batch, classes).
        second: logits of q, likewise.

    Returns:
        A scalar, at least 0.
    """
    p, q = F.log_softmax(first, dim=-1), F.log_softmax(second, dim=-1)
    # sum (p - q) (log p - log q) is the two divergences in one.
    return ((p.exp() - q.exp()) * (p - q)).sum(dim=-1).mean()


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """Compute how far two passes disagree: `symmetric_kl`, or twice the squared difference for a regression.

    Args:
        first: outputs of one pass, shape (batch, classes), or (batch, 1) for a regression.
        second: outputs of the other pass.

    Returns:
        A scalar, at least 0. Twice the squared difference is the symmetric divergence of two normal distributions of
        variance 1, whose negative log-likelihood is the squared error (up to its factor).
    """
    return 2 * F.mse_loss(first, second) if first.shape[-1] == 1 else symmetric_kl(first, second)


def r_drop_loss(model: nn.Module, inputs: Mapping[str, Tensor], *, alpha: float) -> Tensor:
    """Compute the loss of R-Drop: two passes with their own dropout, which must answer alike.

    Args:
        model: a transformers model in training mode, with dropout; without, the second pass teaches nothing.
        inputs: of one batch, with "labels".
        alpha: weight of the divergence.

    Returns:
        Mean of the two losses + alpha / 2 times the symmetric divergence.

    Source:
        Liang et al. 2021, "R-Drop: Regularized Dropout for Neural Networks", arXiv:2106.14448. Departures: the losses
        are averaged, not added, so that alpha = 0 is vanilla fine-tuning at the same learning rate.
    """
    first, second = model(**inputs), model(**inputs)
    return (first.loss + second.loss) / 2 + alpha / 2 * disagreement(first.logits, second.logits)


def r3f_loss(
    model: nn.Module, inputs: Mapping[str, Tensor], *, weight: float, sigma: float, generator: torch.Generator
) -> Tensor:
    """Compute the loss of R3F: a pass with normal noise on the input embeddings must answer as the clean one.

    Args:
        model: a transformers model.
        inputs: of one batch, with "labels".
        weight: of the divergence, lambda in the paper.
        sigma: std of the noise.
        generator: of the noise, on the device of the model.

    Returns:
        Loss of the clean pass + weight times the symmetric divergence.

    Source:
        Aghajanyan et al. 2020, "Better Fine-Tuning by Reducing Representational Collapse", arXiv:2008.03156, with
        normal noise. Departures: `disagreement` for a regression, where the divergence does not exist.
    """

    def perturb(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + torch.empty_like(output).normal_(std=sigma, generator=generator)

    embeddings = _embeddings(model)
    clean = model(**inputs)
    with embeddings.register_forward_hook(perturb):
        noisy = model(**inputs)
    return clean.loss + weight * disagreement(clean.logits, noisy.logits)


@torch.no_grad()
def noisy_tune_(model: nn.Module, *, intensity: float, generator: torch.Generator) -> None:
    """Add uniform noise to the pre-trained weights, once, before fine-tuning.

    Each parameter W becomes W + u std(W), with u uniform in (-intensity / 2, intensity / 2) for each element. A
    parameter of one element has no std and stays.

    Args:
        model: changed in place; give the pre-trained part without the new head.
        intensity: width of the noise in stds of the parameter, lambda in the paper.
        generator: of the noise, on the CPU.

    Source:
        Wu et al. 2022, "NoisyTune: A Little Noise Can Help You Finetune Pretrained Language Models Better", and the
        form in which HyPe's authors implement it. Departures: none known.
    """
    for parameter in model.parameters():
        if parameter.numel() > 1:
            draw = torch.rand(parameter.shape, generator=generator) - 0.5
            parameter.add_(intensity * parameter.std() * draw.to(parameter))


def _embeddings(model: nn.Module) -> nn.Module:
    find = getattr(model, "get_input_embeddings", None)
    if find is None:
        raise ModelError(
            f"R3F needs a model with input embeddings, got {type(model).__name__}.",
            hint="Give a transformers model, which has get_input_embeddings().",
        )
    return find()

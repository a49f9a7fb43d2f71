"""The neighbours of HyPe: regularisers that perturb something else, as losses and as one change of the weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from modicum.errors import ModelError


def symmetric_kl(first: Tensor, second: Tensor) -> Tensor:
    """Compute KL(p || q) + KL(q || p) of the softmaxes of two sets of logits, mean over the examples."""
    p, q = F.log_softmax(first, dim=-1), F.log_softmax(second, dim=-1)
    # sum (p - q) (log p - log q) is the two divergences in one.
    return ((p.exp() - q.exp()) * (p - q)).sum(dim=-1).mean()


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """Compute how far two passes disagree: `symmetric_kl`, or twice the squared difference for a regression."""
    return 2 * F.mse_loss(first, second) if first.shape[-1] == 1 else symmetric_kl(first, second)


def r_drop_loss(model: nn.Module, inputs: Mapping[str, Tensor], *, alpha: float) -> Tensor:
    """Compute the loss of R-Drop: two passes with their own dropout, which must answer alike."""
    first, second = model(**inputs), model(**inputs)
    return (first.loss + second.loss) / 2 + alpha / 2 * disagreement(first.logits, second.logits)


def r3f_loss(
    model: nn.Module, inputs: Mapping[str, Tensor], *, weight: float, sigma: float, generator: torch.Generator
) -> Tensor:
    """Compute the loss of R3F: a pass with normal noise on the input embeddings must answer as the clean one."""

    def perturb(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + torch.empty_like(output).normal_(std=sigma, generator=generator)

    embeddings = _embeddings(model)
    clean = model(**inputs)
    with embeddings.register_forward_hook(perturb):
        noisy = model(**inputs)
    return clean.loss + weight * disagreement(clean.logits, noisy.logits)


@torch.no_grad()
def noisy_tune_(model: nn.Module, *, intensity: float, generator: torch.Generator) -> None:
    """Add uniform noise to the pre-trained weights, once, before fine-tuning."""
    # Each parameter W becomes W + u std(W), with u uniform in (-intensity / 2, intensity / 2) for each element. A
    # parameter of one element has no std and stays.
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

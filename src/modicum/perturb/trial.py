"""A dry run: one tiny pass in evaluation mode that shows whether the hooks fire."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn


def try_model(model: nn.Module) -> bool:
    """Run the body of a transformers model once on two tokens, or on one grey image, without a gradient."""
    library = sys.modules.get("transformers.modeling_utils")
    if library is None:
        return False
    body: Any = next((module for module in model.modules() if isinstance(module, library.PreTrainedModel)), None)
    if body is None:
        return False
    inputs = _build(body.base_model)
    if inputs is None:
        return False
    training = {module: module.training for module in body.modules()}
    try:
        body.eval()
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            body.base_model(**inputs)
    except (ValueError, TypeError, AttributeError, LookupError, RuntimeError):
        return False  # it wants more than that; its first real input will show what fires
    finally:
        for module, mode in training.items():
            module.training = mode
    return True


def _build(body: Any) -> dict[str, Tensor] | None:
    weights = {parameter.device for parameter in body.parameters()}
    if torch.device("meta") in weights:
        return None
    device = body.device
    kinds = body.input_modalities
    modalities = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if modalities == ("text",) and body.main_input_name == "input_ids":
        tokens = torch.zeros(1, 2, dtype=torch.long, device=device)
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        return inputs | ({"decoder_input_ids": tokens} if body.config.is_encoder_decoder else {})
    if modalities == ("image",) and body.main_input_name == "pixel_values":
        size = body.config.image_size
        height, width = (size, size) if isinstance(size, int) else size
        return {
            "pixel_values": torch.zeros(1, body.config.num_channels, height, width, device=device, dtype=body.dtype)
        }
    return None

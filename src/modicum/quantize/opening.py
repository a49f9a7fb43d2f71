"""Networks by name: the folder of a transformers image classifier, or the public ResNet-20 of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from modicum.core.extras import quiet_transformers, require
from modicum.core.safeload.building import bounded_build
from modicum.errors import DataError, ModelError
from modicum.quantize.doors import PUBLISHED, check_network
from modicum.quantize.graph.folding import folded
from modicum.quantize.graph.network import Graph
from modicum.quantize.graph.operations import Opaque
from modicum.quantize.graph.tracing import trace
from modicum.quantize.leftover import described, float_parts, float_share
from modicum.quantize.networks import published_resnet20
from modicum.quantize.preparation import PREPARATION_FILE, Preparation, read_preparation

RESNET20 = Preparation(  # ImageNet's numbers, as the checkpoint's authors took
    resize=(32, 32), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
_BATCH = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A network that was read."""

    name: str  # as it was asked for
    network: nn.Module  # in evaluation mode and float32
    folder: Path | None  # where it came from; None for the one of the catalogue

    @property
    def preparation(self) -> Preparation:
        """How its images are prepared."""
        return RESNET20 if self.folder is None else read_preparation(self.folder)

    @property
    def size(self) -> tuple[int, int] | None:
        """Rows and columns of an image, where something says them."""
        if self.folder is not None and not (self.folder / PREPARATION_FILE).is_file():
            return None
        prepared = self.preparation
        return prepared.crop or (prepared.resize if isinstance(prepared.resize, tuple) else None)


def open_network(name: str) -> Opened:
    """Read a network; no code of its folder runs, and nothing is fetched but what the catalogue knows.

    Args:
        name: "resnet20", or a folder with config.json and model.safetensors as save_pretrained writes them.

    Returns:
        The network.

    Raises:
        ConfigError: if there is no such folder, or it is none of a model.
        DataError: if its weights are damaged, or not those of its configuration.
        MissingDataError: if the catalogue cannot find or fetch ResNet-20.
        MissingExtraError: if transformers is not installed.
        ModelError: if it is no image classifier that transformers knows.
        UnsafeFileError: if its weights are pickled.
    """
    if name == PUBLISHED:
        return Opened(name=name, network=published_resnet20(), folder=None)
    check_network(name)
    folder = Path(name)
    return Opened(name=name, network=_classifier(folder), folder=folder)


@torch.no_grad()
def traced(network: nn.Module, images: Tensor) -> Graph:
    """Write a network down as a folded graph that can be stored once it is quantized."""
    try:
        logits(network, images[:2].clone())  # a network may overwrite its input
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ModelError(
            f"The network cannot take images of shape {tuple(images.shape[1:])} ({_first_line(error)}).",
            hint="Calibrate with images of the size and channels that it was made for.",
        ) from error
    graph = folded(trace(network, images[:2].clone()))
    if any(isinstance(node.operation, Opaque) for node in graph):
        parts = float_parts(graph)
        raise ModelError(
            f"{type(network).__name__} cannot be stored as integers: none stand for its operators "
            f"{described(parts)}, with {float_share(graph, parts):.1%} of the weights.",
            hint="Quantize a convolutional network with ReLU, such as ResNet, MobileNetV2 or RegNet; in Python, "
            "quantize() leaves such operators in floating point.",
        )
    return graph


def logits(network: nn.Module, images: Tensor) -> Tensor:
    """Run a network, whether it gives a tensor or an output of transformers."""
    output = network(images)
    return output if isinstance(output, Tensor) else output.logits


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Give the share of images that a network gets right."""
    weight = next(network.parameters(), None)
    device = images.device if weight is None else weight.device
    right = 0
    for batch, answers in zip(images.split(_BATCH), labels.split(_BATCH), strict=True):
        right += int((logits(network, batch.to(device)).argmax(1).cpu() == answers).sum())
    return right / len(labels)


def _classifier(folder: Path) -> nn.Module:
    transformers = require("transformers", extra="vision", purpose="Reading a model folder")
    # What the configurations of transformers raise for a wrong type in config.json; it is no ValueError.
    misfit = require("huggingface_hub.errors", extra="vision", purpose="Reading a model folder").StrictDataclassError
    hint = "Name a folder with an image classifier, such as ResNet, MobileNetV2 or RegNet."
    try:
        with quiet_transformers(), bounded_build(folder, hint=hint):
            network, info = transformers.AutoModelForImageClassification.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except ModelError:
        raise
    except SafetensorError as error:
        raise DataError(
            f"The weights in {folder} are no complete safetensors file ({error}).",
            hint="They are truncated or damaged: copy them again.",
        ) from error
    except (OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError, misfit) as error:
        raise ModelError(
            f"{folder} cannot be read as an image classifier ({_first_line(error)}).",
            hint=hint,
        ) from error
    _check_loaded(folder, cast("dict[str, Any]", info))
    return cast("nn.Module", network).eval()


def _check_loaded(folder: Path, info: dict[str, Any]) -> None:
    # transformers draws what is missing at random, and only warns of it.
    for what in ("missing_keys", "mismatched_keys"):
        if names := sorted(str(it) for it in info.get(what, ())):
            raise DataError(
                f"The weights in {folder} do not fill the network of its config.json: {len(names)} are "
                f"{what.removesuffix('_keys')}, such as {names[0]}.",
                hint="Name a folder with a trained classifier, head included.",
            )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__

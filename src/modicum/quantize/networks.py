"""Networks by name: a transformers image classifier, two public ones, and a small one for digits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import relu

from modicum.core import catalogue
from modicum.core.extras import quiet_transformers, require
from modicum.core.resnet import CifarResNet, resnet20
from modicum.core.safeload import load_torch
from modicum.core.safeload.building import bounded_build
from modicum.core.seeding import torch_generator
from modicum.core.training import train_classifier
from modicum.errors import DataError, ModelError
from modicum.quantize.doors import LITE0, PUBLIC, check_network
from modicum.quantize.graph.graph import in_pieces
from modicum.quantize.io.images import BICUBIC, PREPARATION_FILE, Preparation, read_preparation
from modicum.quantize.lite import packaged_lite0

# As the authors of the checkpoints prepared images; those of ResNet-20 took ImageNet's numbers.
CIFAR = Preparation(resize=(32, 32), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
IMAGENET = Preparation(resize=256, crop=(224, 224), resample=BICUBIC, factor=1.0, mean=(127.0,) * 3, std=(128.0,) * 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A network that was read."""

    name: str  # as it was asked for
    network: nn.Module  # in evaluation mode and float32
    folder: Path | None  # where it came from; None for a public one

    @property
    def preparation(self) -> Preparation:
        """How its images are prepared."""
        if self.folder is None:
            return IMAGENET if self.name == LITE0 else CIFAR
        return read_preparation(self.folder)

    def sized(self) -> nn.Module:
        """Give the network, which declares the size of images as those of timm do, where something says it."""
        if self.folder is None or (self.folder / PREPARATION_FILE).is_file():
            prepared = self.preparation
            size = prepared.crop or (prepared.resize if isinstance(prepared.resize, tuple) else None)
            if size is not None:
                cast("Any", self.network).pretrained_cfg = {"input_size": (len(prepared.mean), *size)}
        return self.network


def open_network(name: str) -> Opened:
    """Read a network; no code of its folder runs, and nothing is fetched but what the catalogue knows.

    Args:
        name: "resnet20" (CIFAR-10), "efficientnet-lite0" (ImageNet's classes), or a folder with config.json and
            model.safetensors as save_pretrained writes them.

    Returns:
        The network.

    Raises:
        ConfigError: if there is no such folder, or it is none of a model.
        DataError: if its weights are damaged, or not those of its configuration.
        MissingDataError: if the catalogue cannot find or fetch ResNet-20.
        MissingExtraError: if transformers, or the package that has EfficientNet-Lite0, is not installed.
        ModelError: if it is no image classifier that transformers knows.
        UnsafeFileError: if its weights are pickled.
    """
    if name in PUBLIC:
        return Opened(name=name, network=packaged_lite0() if name == LITE0 else published_resnet20(), folder=None)
    check_network(name)
    folder = Path(name)
    return Opened(name=name, network=_classifier(folder), folder=folder)


def logits(network: nn.Module, images: Tensor) -> Tensor:
    """Run a network, whether it gives a tensor or an output of transformers."""
    output = network(images)
    return output if isinstance(output, Tensor) else output.logits


@torch.no_grad()
def right(network: nn.Module, images: Tensor, labels: Tensor) -> list[bool]:
    """Tell for each image whether a network gets it right."""
    weight = next(network.parameters(), None)
    device = images.device if weight is None else weight.device
    answers = torch.cat([logits(network, batch).argmax(1).cpu() for batch in in_pieces(images.to(device))])
    return (answers == labels).tolist()


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Give the share of images that a network gets right."""
    return fmean(right(network, images, labels))


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


_CHECKPOINT = ("pretrained_models", "resnet20-12fca82f.th")
EPOCHS, BATCH, RATE = 15, 32, 3e-3  # ours: more than 97 % of held-out digits in some seconds


class _Block(nn.Module):
    def __init__(self, incoming: int, outgoing: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(incoming, outgoing, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outgoing)
        self.conv2 = nn.Conv2d(outgoing, outgoing, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outgoing)
        self.shortcut = nn.Conv2d(incoming, outgoing, 1, stride=stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = relu(self.bn1(self.conv1(x)))
        return relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class DigitsNet(nn.Module):
    """A residual network of some 20,000 weights for 8 x 8 grey images."""

    def __init__(self, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.block1 = _Block(16, 16, stride=1)
        self.block2 = _Block(16, 32, stride=2)
        self.linear = nn.Linear(32, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, 1, 8, 8) to logits (batch, 10)."""
        out = relu(self.bn1(self.conv1(images)))
        return self.linear(self.block2(self.block1(out)).mean(dim=(2, 3)))


def train_digits(images: Tensor, labels: Tensor, *, seed: int) -> DigitsNet:
    """Train the small network."""
    network = DigitsNet(generator=torch_generator(seed, "initialisation"))
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * -(-len(images) // BATCH))
    order = torch_generator(seed, "order")
    train_classifier(network, images, labels, optimizer, schedule, epochs=EPOCHS, batch=BATCH, order=order)
    return network.eval()


def published_resnet20() -> CifarResNet:
    """Load the public ResNet-20 for CIFAR-10 (images normalised by ImageNet's mean and std)."""
    path = catalogue.fetch("models/pytorch_resnet_cifar10").joinpath(*_CHECKPOINT)
    content = load_torch(path)
    network = resnet20()
    try:
        weights = cast("dict[str, dict[str, Tensor]]", content)["state_dict"]
        network.load_state_dict({name.removeprefix("module."): value for name, value in weights.items()})
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise DataError(f"{path} has no weights of ResNet-20 ({error}).", hint="Fetch the data set again.") from error
    return network.eval()

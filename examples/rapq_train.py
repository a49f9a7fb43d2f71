"""Train a ResNet-18 or MobileNetV2 of transformers on CIFAR-10 (JPEG), to be quantized afterwards.

Run: python examples/rapq_train.py --network resnet18 --out resnet18 --device cuda
Then: modicum quantize run resnet18 --calibration FOLDER_OF_IMAGES --weights 2 --out resnet18.safetensors
Or:   modicum compare rapq --budget full --option network=resnet18

Both networks are built for 224 x 224 pixels and halve the image five times. The stem of transformers' ResNet (7 x 7,
stride 2, then a max pool) cannot be changed by its configuration, so images are enlarged to 64 x 64 instead; the
preprocessor_config.json that is written next to the weights says so, and both commands do the same.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from transformers import (
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
)
from transformers.utils import logging

from modicum.core.seeding import torch_generator
from modicum.core.small import CIFAR_CLASSES, cifar10_files
from modicum.quantize.io.images import PREPARATION_FILE, Preparation
from modicum.quantize.networks import accuracy

BATCH, DECAY = 128, 5e-4  # the usual recipe: SGD with momentum, crops and flips, one cycle
REACH = 8  # pixels by which a crop is moved at most


def build(name: str, seed: int) -> PreTrainedModel:
    classes = {"num_labels": len(CIFAR_CLASSES), "id2label": dict(enumerate(CIFAR_CLASSES))}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if name == "resnet18":
            widths = [64, 128, 256, 512]
            return ResNetForImageClassification(
                ResNetConfig(
                    embedding_size=64,
                    hidden_sizes=widths,
                    depths=[2, 2, 2, 2],
                    layer_type="basic",
                    downsample_in_first_stage=False,
                    **classes,
                )
            )
        network = MobileNetV2ForImageClassification(
            MobileNetV2Config(tf_padding=False, classifier_dropout_prob=0.2, **classes)
        )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1  # transformers has 0.997: statistics would be those of the last batch alone
    return network


def augmented(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Flip half of the images, and move all by some pixels, with the border repeated."""
    flipped = torch.rand(len(pixels), generator=generator) < 0.5
    pixels = torch.where(flipped.to(pixels.device).view(-1, 1, 1, 1), pixels.flip(3), pixels)
    height, width = pixels.shape[2:]
    top, left = torch.randint(2 * REACH + 1, (2,), generator=generator).tolist()
    moved = pad(pixels.float(), (REACH,) * 4, mode="replicate")
    return moved[:, :, top : top + height, left : left + width]


def train(
    network: nn.Module, pixels: Tensor, labels: Tensor, prepared: Preparation, wanted: argparse.Namespace
) -> None:
    device, steps = wanted.device, wanted.epochs * -(-len(pixels) // BATCH)
    optimizer = torch.optim.SGD(network.parameters(), lr=wanted.rate, momentum=0.9, weight_decay=DECAY, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, wanted.rate, total_steps=steps, pct_start=0.2)
    generator = torch_generator(wanted.seed, "order")
    network.to(device).train()
    for epoch in range(wanted.epochs):
        started, total = time.perf_counter(), torch.zeros((), device=device)
        for rows in torch.randperm(len(pixels), generator=generator).split(BATCH):
            images = prepared.normalised(augmented(pixels[rows].to(device), generator))
            with torch.autocast("cuda", torch.bfloat16, enabled=device.startswith("cuda")):
                output = network(images).logits
            loss = cross_entropy(output.float(), labels[rows].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach() * len(rows)
        seconds = time.perf_counter() - started
        print(f"epoch {epoch + 1}: loss {total.item() / len(pixels):.4f}, {seconds:.1f} s", flush=True)


def read(part: str, count: int, prepared: Preparation, seed: int) -> tuple[Tensor, Tensor]:
    files, labels = cifar10_files(part)
    order = torch.randperm(len(files), generator=torch_generator(seed, part))[: count or len(files)]
    return prepared.images([files[index] for index in order.tolist()]), labels[order]


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a network to be quantized.")
    parser.add_argument("--network", choices=["resnet18", "mobilenetv2"], default="resnet18")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--images", type=int, default=0, help="training images; 0 for all 50,000")
    parser.add_argument("--test-images", type=int, default=0, help="test images; 0 for all 10,000")
    parser.add_argument("--size", type=int, default=64, help="pixels of a side that images are enlarged to")
    parser.add_argument("--rate", type=float, default=0.1, help="the largest learning rate")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    prepared = Preparation(resize=(wanted.size, wanted.size), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    pixels, labels = read("train", wanted.images, prepared, wanted.seed)
    network = build(wanted.network, wanted.seed)
    print(f"{wanted.network}: {sum(it.numel() for it in network.parameters()):,} parameters, {len(pixels):,} images")
    train(network, pixels, labels, prepared, wanted)
    logging.disable_progress_bar()
    network.cpu().eval().save_pretrained(wanted.out)
    (wanted.out / PREPARATION_FILE).write_text(json.dumps(prepared.to_dict(), indent=2) + "\n")
    pixels, labels = read("test", wanted.test_images, prepared, wanted.seed)
    share = accuracy(network.to(wanted.device), prepared.normalised(pixels), labels)
    print(f"{share:.4f} of {len(labels):,} test images right; saved: {wanted.out}")


if __name__ == "__main__":
    main()

"""Quantize a small network to 2-bit weights and 4-bit activations with power-of-two scales, and run it on integers.

Run: python examples/rapq.py
The data are the digits of scikit-learn, so nothing is downloaded. For a network of yours only the
numbered lines matter.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from modicum.quantize import Engine, QuantizedModel, RAPQConfig, lower, quantize


def trained(images: Tensor, labels: Tensor) -> nn.Module:
    network = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32 * 16, 10)),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(20):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            cross_entropy(network(images[rows]), labels[rows]).backward()
            optimizer.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    return float((network(images).argmax(1) == labels).float().mean())


def main() -> None:
    pixels, labels = load_digits(return_X_y=True)
    images, answers = torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, test = order[:900], order[900:]
    torch.manual_seed(0)  # noqa: TID251 - a script of its own
    network = trained(images[train], answers[train])
    print(f"float network: {accuracy(network, images[test], answers[test]):.3f} on {len(test)} other digits")

    # 1. Quantize: a trained network, some hundred samples without labels, and the bits.
    quantized = quantize(network, images[train[:256]], RAPQConfig(weight_bits=2, activation_bits=4))
    print(f"quantized:     {accuracy(quantized, images[test], answers[test]):.3f}\n")
    print(quantized.report(), end="\n\n")

    # 2. Prove that it is one of integers and shifts, and how wide its sums are.
    print(quantized.verify(), end="\n\n")

    # 3. Save it, read it back, and run it without floating point.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.safetensors"
        quantized.save(path)
        print(f"saved: {path.stat().st_size:,} bytes")
        loaded = QuantizedModel.load(path)
    engine = Engine(lower(loaded))
    integers = torch.from_numpy(engine.run(images[test]))
    with torch.no_grad():
        equal = (integers == quantized(images[test]).double()).all()
    print(f"integer engine ({engine.backend}): {(integers.argmax(1) == answers[test]).double().mean():.3f}, ", end="")
    print("bit for bit the simulation" if equal else "NOT the simulation")


if __name__ == "__main__":
    main()

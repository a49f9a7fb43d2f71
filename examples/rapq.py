"""Quantize a small network to 2-bit weights and 4-bit activations with power-of-two scales, and run it on integers.

Run: python examples/rapq.py
The data are the digits of scikit-learn, so nothing is downloaded. For a network of yours only the
numbered places matter.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits

from modicum.quantize.configuration import RAPQConfig
from modicum.quantize.engine.engine import Engine
from modicum.quantize.engine.program import lower
from modicum.quantize.model import QuantizedModel
from modicum.quantize.networks import train_digits
from modicum.quantize.opening import accuracy
from modicum.quantize.quantizer import quantize


def main() -> None:
    pixels, labels = load_digits(return_X_y=True)
    images, answers = torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, test = order[:900], order[900:]
    network = train_digits(images[train], answers[train], seed=0)
    print(f"float network: {accuracy(network, images[test], answers[test]):.3f} on {len(test)} other digits")

    # 1. Quantize: a trained network, some hundred samples without labels, and the bits.
    quantized = quantize(network, images[train[:256]], RAPQConfig(weight_bits=2, activation_bits=4))
    print(f"quantized:     {accuracy(quantized, images[test], answers[test]):.3f}\n")
    print(quantized.report(), end="\n\n")

    # 2. Prove that it is whole, and how wide its sums are.
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

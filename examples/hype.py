"""Train a tiny vision Transformer with HyPe, and see first what a sigma does to its gradient.

Run: python examples/hype.py
The data are the digits of scikit-learn, so nothing is downloaded. For a model of yours only the
two numbered lines matter.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification, set_seed

from modicum.perturb import HyPeCallback, HyPeConfig, gradient_change


class Digits(Dataset[dict[str, torch.Tensor]]):
    """Images of 8 x 8 pixels and their labels."""

    def __init__(self, start: int, stop: int) -> None:
        pixels, labels = load_digits(return_X_y=True)
        self.images = torch.tensor(pixels[start:stop], dtype=torch.float32).view(-1, 1, 8, 8) / 16
        self.labels = torch.tensor(labels[start:stop])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": self.images[index], "labels": self.labels[index]}


def main() -> None:
    set_seed(0)
    sizes: dict[str, Any] = {
        "num_labels": 10,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
    }
    model = ViTForImageClassification(ViTConfig(image_size=8, patch_size=2, num_channels=1, **sizes))

    # 1. What does a sigma mean for this model?
    batch = torch.utils.data.default_collate([Digits(0, 64)[index] for index in range(64)])
    for row in gradient_change(model, batch, [1e-5, 1e-3, 1e-1]):
        print(f"sigma {row.sigma:g} changes the gradient by {row.change:.2g} of its length")

    # 2. Train with it. Dropout is off meanwhile, and the model is as before afterwards.
    callback = HyPeCallback(HyPeConfig(noise="normal", sigma=1e-3))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=10,
            per_device_train_batch_size=16,
            learning_rate=2e-3,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            logging_strategy="no",
            dataloader_pin_memory=False,
        )
        trainer = Trainer(model, arguments, train_dataset=Digits(0, 500), callbacks=[callback])
        trainer.train()
    test = Digits(1000, 1797)
    with torch.no_grad():
        right = model.cpu().eval()(test.images).logits.argmax(-1) == test.labels
    print(f"accuracy on {len(test)} other digits: {right.float().mean():.3f}")


if __name__ == "__main__":
    main()

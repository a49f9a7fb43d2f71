"""Say "unknown" to what was never seen: digits in the place of faces, and a simulated attack to look at.

Run: python examples/fghv.py
Zeros to fours are genuine, fives and sixes the attacks that are known, sevens to nines attacks that nobody has seen.
Nothing is downloaded. For faces, LivenessDetector().fit(folder) takes the place of all this: see docs/fghv.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from modicum.liveness import FGHVConfig, pad_metrics
from modicum.liveness.fit import fit
from modicum.liveness.simulator import contact_sheet


def main() -> None:
    pixels, digits = load_digits(return_X_y=True)
    inputs, digits = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(digits)
    half = len(digits) // 2
    known = digits[:half] <= 6
    model = fit(
        FGHVConfig(backbone="vector", input_size=64),
        inputs[:half][known],
        (digits[:half][known] <= 4).long(),
        steps=200,
    )

    found = model.verify(inputs[half:])
    labels = (digits[half:] <= 4).long().numpy()
    species = ["unknown" if digit >= 7 else "known" for digit in digits[half:].tolist()]
    scores = {"correlation alone": found.sides["score"], "variance alone": found.sides["variance"], "both": found.box}
    for name, score in scores.items():
        # At -1 it refuses one in twenty of the genuine ones that training held out: nobody has the attacks of tomorrow.
        metrics = pad_metrics(score.numpy(), labels, species, threshold=-1.0)
        rates = ", ".join(f"APCER of {kind} {rate:.3f}" for kind, rate in (metrics.apcer or {}).items())
        print(f"{name:18} AUC {metrics.auc:.3f}, {rates}, BPCER {metrics.bpcer:.3f}")

    # A picture with some detail; in earnest: read_image("photo.jpg").
    rows, columns = np.mgrid[:120, :160]
    image = np.stack([128 + 90 * np.sin(rows / 17), 128 + 90 * np.cos(columns / 23), 0.7 * (rows + columns)], axis=2)
    from PIL import Image

    Image.fromarray(contact_sheet(image.astype(np.uint8), seed=1)).save("attacks.png")
    print(f"Simulated attacks: {Path('attacks.png').resolve()}")


if __name__ == "__main__":
    main()

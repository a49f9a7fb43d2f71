"""Tell four motions apart by two sensors, also while one of them is missing, and write the model for onnxruntime.

Run: python examples/cubemlp.py
BasicMotions comes out of the wheel of sktime, so nothing is downloaded. One seed says nothing of how good it is. For
recordings of yours only the numbered lines matter: `open_recordings` reads files, `CubeMLPClassifier` takes arrays.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from modicum.errors import MissingExtraError
from modicum.fusion import FusionSystem, Recipe, all_subsets, configure, export_onnx, fit
from modicum.fusion.readers import read_motions


def main() -> None:
    splits = read_motions()
    train, test = splits["train"], splits["test"]

    # 1. Fit. Modality dropout takes a sensor away from some training samples, so that the model can do without it. The
    # layer norm is after the mixers: in front of one of two modalities it would see little but which is the larger.
    config = configure(train, encoder="conv", channels=24, norm="branch", modality_dropout=0.2)
    recipe = Recipe(epochs=25, batch=8, rate=1e-2, schedule="linear")
    fitted = fit(train, config=config, recipe=recipe, seed=1)
    if took := fitted.training:
        print(f"{took.updates} updates, epoch {took.epoch} chosen by a part of the training split")

    # 2. Save it and read it back: safetensors and JSON, no pickle.
    with tempfile.TemporaryDirectory() as folder:
        fitted.save(Path(folder) / "system")
        system = FusionSystem.load(Path(folder) / "system")
    print(f"accuracy on {len(test)} test recordings: {system.score(test)['accuracy']:.3f}")

    # 3. Predict, with both sensors and without the second; a missing one is a token that was learnt, not zeros.
    some = test.take([0, 15, 30])
    print(f"\nP({', '.join(system.classes)}):")
    for given, present in {"both": [True, True], "accelerometer": [True, False]}.items():
        for name, chances in zip(some.ids, system.predict(some, present=np.tile(present, (3, 1))), strict=True):
            print(f"  {name} {given:13}  {'  '.join(f'{chance:.2f}' for chance in chances)}")
    for subset in all_subsets(system, test):
        print(f"accuracy with {' and '.join(subset.modalities)}: {subset.scores['accuracy']:.3f}")

    # 4. Write it for onnxruntime, with free batch and time and with the scaling of the features in it. The file is
    # compared with torch before it is there.
    try:
        with tempfile.TemporaryDirectory() as folder:
            apart = export_onnx(system, Path(folder) / "motions.onnx")
        print(f"\nonnxruntime gives the probabilities of torch to {apart:.0e}")
    except MissingExtraError as error:
        print(f"\nno ONNX file: {error}")


if __name__ == "__main__":
    main()

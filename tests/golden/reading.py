"""How each golden file is read, by public names, and what of it must come out as it was recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modicum.fusion import FusionEnsemble, FusionSystem, Ragged, Recordings, load_recordings
from modicum.molecules import DMPNN, GaussianProcess, Label, MarginalizedGraphKernel, read_pool, read_table
from modicum.quantize import QuantizedModel, compare_onnx
from modicum.sarcasm import Example, Pair, SarcasmSystem

TEXTS = (
    Example(text="Oh great, rain again", language="en"),
    Example(text="the cat sat on a mat.", language="en"),
    Example(text="يا سلام مطر رائع", language="ar", dialect="nile"),
)
PAIR = Pair(texts=("the bus ran late", "just lovely, the bus ran late!"), language="en")
SMILES = ("CCCC", "CCCCCC", "CC(C)CC")


def wave(*shape: int) -> torch.Tensor:
    """Give inputs that are the same everywhere: no generator, few digits."""
    return ((torch.arange(int(np.prod(shape))) * 37 % 101).float() / 50.5 - 1).reshape(shape)


def recordings() -> Recordings:
    """Give three samples of the streams that the golden fusion model reads."""
    frames = {"audio": 3, "video": 2}
    return Recordings(
        ids=("a", "b", "c"),
        streams={
            name: Ragged.of([wave(count + len(name) % 2, size).numpy() for count in (1, 4, 2)], size)
            for name, size in frames.items()
        },
    )


def sarcasm(folder: Path) -> Mapping[str, Any]:
    system = SarcasmSystem.load(folder)
    found = system.read(TEXTS)
    return {
        "probabilities": found.probabilities.tolist(),
        "labels": found.labels.tolist(),
        "categories": np.zeros(0).tolist()
        if found.category_probabilities is None
        else found.category_probabilities.tolist(),
        "second": system.compare([PAIR]).tolist(),
        "cleaned": [system.preparation.text(text) for text in TEXTS],
        "thresholds": dict(system.decision.thresholds),
    }


def fusion(folder: Path) -> Mapping[str, Any]:
    system = FusionSystem.load(folder / "seed-1")
    return {
        "mean": FusionEnsemble.load(folder).predict(recordings()).tolist(),
        "one": system.predict(recordings()).tolist(),
        "without video": system.predict(recordings(), present=[[True, False]] * 3).tolist(),
        "task": system.task,
    }


def stored_recordings(path: Path) -> Mapping[str, Any]:
    splits = load_recordings(path)
    return {
        name: {
            "ids": part.ids,
            "words": part.words,
            "groups": part.groups,
            "classes": part.classes,
            "labels": None if part.labels is None else part.labels.tolist(),
            "streams": {it: [ragged.values.tolist(), ragged.lengths.tolist()] for it, ragged in part.streams.items()},
            "replaced": dict(part.replaced),
        }
        for name, part in splits.items()
    }


def quantized(path: Path) -> Mapping[str, Any]:
    model = QuantizedModel.load(path)
    with torch.no_grad():
        outputs = model(wave(2, 3, 10, 10))
    return {"outputs": outputs.tolist(), "proved": not model.verify().failures, "bits": model.config.weight_bits}


def onnx(path: Path) -> Mapping[str, Any]:
    model = QuantizedModel.load(path.with_name("quantized.safetensors"))
    return {"equal": compare_onnx(model, path, wave(2, 3, 10, 10)).plain.equal}


def gaussian_process(folder: Path) -> Mapping[str, Any]:
    process = GaussianProcess.load(folder, MarginalizedGraphKernel.from_json)
    mean, std = process.predict(SMILES, np.array([300.0, 300.0, 320.0]), return_std=True)
    return {"mean": mean.tolist(), "std": std.tolist(), "quantity": process.quantity, "factor": process.factor}


def dmpnn(folder: Path) -> Mapping[str, Any]:
    network = DMPNN.load(folder)
    found = network.predict(SMILES, np.array([300.0, 300.0, 320.0]))
    return {"predicted": found.tolist(), "quantity": network.quantity, "losses": list(network.losses)}


def label_table(path: Path) -> Mapping[str, Any]:
    return {
        name: {
            "smiles": table.smiles,
            "temperature": table.temperature.tolist(),
            "value": table.value.tolist(),
            "error": None if table.error is None else table.error.tolist(),
            "columns": {column: list(texts) for column, texts in table.columns.items()},
        }
        for name, table in ((name, read_table(path, name)) for name in ("density", "hvap"))
    }


def selection(path: Path) -> Mapping[str, Any]:
    pool = read_pool(path)
    return {"smiles": pool.smiles, "columns": {name: list(texts) for name, texts in pool.columns.items()}}


def label(path: Path) -> Mapping[str, Any]:
    from modicum.core.safeload import read_json

    return Label.from_json(read_json(path, hint="")).to_json()


def journal(folder: Path) -> Mapping[str, Any]:
    from modicum.core.journal import Journal, job_key

    with Journal(folder) as rows:
        found = [rows.get(job_key({"arm": "SGD", "seed": seed})) for seed in range(3)]
        return {"rows": len(rows), "found": found}


def report(path: Path) -> Mapping[str, Any]:
    from modicum.core.report import load, markdown

    reports = load(path)
    return {"reports": [asdict(it) for it in reports], "markdown": markdown(reports)}


def submission(path: Path) -> Mapping[str, Any]:
    from modicum.sarcasm.evaluate.predictions import read_submission

    found = read_submission(path)
    return {"task": found.task, "language": found.language, "ones": np.flatnonzero(found.predictions).tolist()}


def predictions(path: Path) -> Mapping[str, Any]:
    from modicum.sarcasm.data.tables import read_rows

    table = read_rows(path)
    return {"columns": table.columns, "rows": [[row.line, dict(row.cells)] for row in table]}


# What is read, and how near floating point comes on another processor: None where nothing is computed.
READERS: dict[str, tuple[Callable[[Path], Mapping[str, Any]], float | None]] = {
    "sarcasm-linear": (sarcasm, 1e-9),
    "sarcasm-stack": (sarcasm, 1e-4),
    "fusion": (fusion, 1e-4),
    "recordings.safetensors": (stored_recordings, None),
    "recordings.npz": (stored_recordings, None),
    "quantized.safetensors": (quantized, 1e-4),
    "quantized.onnx": (onnx, 1e-2),
    "gp": (gaussian_process, 1e-6),
    "dmpnn": (dmpnn, 1e-4),
    "labels.csv": (label_table, None),
    "selection.csv": (selection, None),
    "label.json": (label, None),
    "journal": (journal, None),
    "report.json": (report, None),
    "submission.zip": (submission, None),
    "predictions.csv": (predictions, None),
    "predictions.jsonl": (predictions, None),
}

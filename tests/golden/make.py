"""Make the golden files anew, and record what is read of them: ``python -m tests.golden.make [NAME ...]``.

Only for a format that has a new version: the files say what older releases have written.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tests.golden.reading import READERS, SMILES
from tests.property.fuzz.formats import HYPER

FOLDER = Path(__file__).parent
SARCASTIC = ("Oh great, rain again", "just lovely, the mat is wet", "wow, late. sure", "sure, the cat ran it")
PLAIN = ("the rain is back", "the mat is wet", "the bus is late", "the cat ran away")
ARABIC = (("يا سلام مطر رائع", "مطر اليوم"), ("فعلا يا سلام", "قطة على السطح"))


def _examples() -> list[Any]:
    from modicum.sarcasm import Example

    pairs = [*((*it, "en") for it in zip(SARCASTIC, PLAIN, strict=True)), *((*it, "ar") for it in ARABIC)]
    examples: list[Any] = []
    for place, (text, rephrase, language) in enumerate(pairs):
        kinds = tuple(int(number == place % 2) for number in range(6))
        known: Any = {"language": language, "dialect": "nile" if language == "ar" else None}
        examples.append(Example(text=text, sarcastic=1, rephrase=rephrase, categories=kinds, **known))
        examples.append(Example(text=rephrase, sarcastic=0, categories=(0,) * 6, **known))
    return examples


def _linear() -> Any:
    from modicum.sarcasm.linear import Grams, LinearLearner

    return LinearLearner(features=(Grams(analyzer="word", shortest=1, longest=1),))


def sarcasm_linear(folder: Path) -> None:
    from modicum.sarcasm.data.preparation import PRESETS
    from modicum.sarcasm.fitting import fit_system

    fit_system(_examples(), _linear(), robustness=PRESETS["modicum"], folds=2).system.save(folder)


def sarcasm_stack(folder: Path) -> None:
    from transformers import BertConfig, BertTokenizer

    from modicum.core.seeding import seeded_globally
    from modicum.sarcasm.data.preparation import PRESETS
    from modicum.sarcasm.encoder.model import EncoderModel, EnsembleModel
    from modicum.sarcasm.encoder.modeling import SarcasmConfig, SarcasmModel
    from modicum.sarcasm.fitting import fit_system
    from modicum.sarcasm.stack import StackedModel, Weights
    from modicum.sarcasm.system import SarcasmSystem

    words = sorted({word for text in (*SARCASTIC, *PLAIN) for word in text.lower().replace(",", "").split()})
    with tempfile.TemporaryDirectory() as place:
        vocabulary = Path(place) / "words.txt"
        vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]), encoding="utf-8")
        tokenizer = BertTokenizer(vocab=str(vocabulary))
    encoder = BertConfig(
        vocab_size=len(words) + 5,
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=4,
        max_position_embeddings=32,
        initializer_range=0.5,
    )
    config = SarcasmConfig(encoder, length=24, learnt=("sarcastic", "categories", "rank"))
    with seeded_globally(0, "golden"):
        member = EncoderModel(SarcasmModel(config), tokenizer)  # type: ignore[arg-type]
    linear = fit_system(_examples(), _linear(), robustness=PRESETS["plain"], folds=2).system
    weights = {
        "en": Weights(sarcastic=(0.75, 0.5), rank=(1.0, 0.25)),
        "ar": Weights(sarcastic=(1.0, 0.125), rank=(1.0, 0.0)),
    }
    model = StackedModel(members=(linear.model, EnsembleModel((member,))), weights=weights)  # type: ignore[arg-type]
    SarcasmSystem(model=model, preparation=linear.preparation, decision=linear.decision).save(folder)


def fusion(folder: Path) -> None:
    from tests.unit.fusion.made_up import recordings

    from modicum.fusion import Recipe, configure, fit_seeds

    drawn = recordings(16)
    config = configure(drawn, channels=2, layers=1)
    fit_seeds(drawn, None, config=config, seeds=[0, 1], recipe=Recipe(epochs=1, batch=16, rate=5e-3)).save(folder)


def recordings(path: Path) -> None:
    from tests.unit.fusion.made_up import recordings

    from modicum.fusion import save_recordings

    save_recordings(path, {"train": recordings(4, words=True), "test": recordings(3, seed=1, classes=2)})


def quantized(path: Path) -> None:
    from tests.unit.quantize.random_models import ResidualNet, random_model

    random_model(ResidualNet(), shape=ResidualNet.shape).save(path)


def onnx(path: Path) -> None:
    from modicum.quantize import QuantizedModel

    QuantizedModel.load(path.with_name("quantized.safetensors")).export_onnx(path)


def _labels() -> Any:
    from modicum.molecules import PropertyTable

    smiles = tuple(name for name in (*SMILES, "CCCCC") for _ in range(2))
    carbons = np.array([name.count("C") for name in smiles])
    temperature = np.array([300.0, 325.0] * 4)
    value = 500 + 25.0 * carbons - 0.5 * (temperature - 300)
    return PropertyTable(quantity="density", smiles=smiles, temperature=temperature, value=value, error=value / 1024)


def gaussian_process(folder: Path) -> None:
    from modicum.molecules import GaussianProcess, MarginalizedGraphKernel

    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "kernel.json").write_text(HYPER)
        kernel = MarginalizedGraphKernel.from_json(Path(place) / "kernel.json")
    process = GaussianProcess(kernel).fit(_labels())
    process.calibrate()
    process.save(folder, hyperparameters=HYPER)


def dmpnn(folder: Path) -> None:
    from modicum.molecules import DMPNN

    DMPNN(width=4).fit(_labels(), epochs=3, seed=1).save(folder)


def labels(path: Path) -> None:
    from dataclasses import replace

    from modicum.molecules import write_table

    density = replace(_labels(), columns={"id": tuple("abcdefgh")})
    write_table(path, density, replace(_labels().take([0, 2, 4]), quantity="hvap", error=None))


def selection(path: Path) -> None:
    pool = path.with_name("pool.csv")
    pool.write_text("name,smiles\n" + "".join(f"no. {place},{it}\n" for place, it in enumerate((*SMILES, "CCCCC"))))
    _command("molecules", "select", str(pool), "--out", str(path), "--uncertainty", "0.2")
    pool.unlink()


def label(path: Path) -> None:
    from modicum.molecules import TableLabeller

    found = TableLabeller([_labels()], source="written for this test").label("CCCC")
    path.write_text(json.dumps(found.to_json()))


def journal(folder: Path) -> None:
    from modicum.core.journal import Journal, job_key

    with Journal(folder) as rows:
        for seed in range(2):
            description = {"arm": "SGD", "seed": seed}
            rows.put(
                job_key(description), description, {"value": (seed + 1) / 3, "secondary": {}, "costs": {"steps": 7.0}}
            )


def report(path: Path) -> None:
    from tests.property.fuzz.formats import _report

    with tempfile.TemporaryDirectory() as place:
        _report(Path(place))
        shutil.copy(Path(place) / "report.json", path)


def submission(path: Path) -> None:
    from modicum.sarcasm.evaluate.predictions import write_submission

    write_submission(path, "C", "en", np.arange(200) % 7 == 0)


def predictions(path: Path) -> None:
    from modicum.core.tables import read_records
    from modicum.sarcasm.data.tables import write_predictions

    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "texts.csv"
        source.write_text('id,text,sarcastic\n1,"Oh, ""great""",1\n2,"two\nlines",0\n3,يا سلام,1\n', encoding="utf-8")
        rows = read_records(source)[1]
    write_predictions(
        path, rows, [{"probability": 1 / (it + 3), "predicted": it % 2, "categories": ""} for it in range(3)]
    )


def _command(*arguments: str) -> None:
    from typer.testing import CliRunner

    from modicum.cli.main import app

    done = CliRunner().invoke(app, arguments)
    if done.exit_code:
        raise RuntimeError(done.output)


MAKERS: dict[str, Callable[[Path], None]] = {
    "sarcasm-linear": sarcasm_linear,
    "sarcasm-stack": sarcasm_stack,
    "fusion": fusion,
    "recordings.safetensors": recordings,
    "recordings.npz": recordings,
    "quantized.safetensors": quantized,
    "quantized.onnx": onnx,
    "gp": gaussian_process,
    "dmpnn": dmpnn,
    "labels.csv": labels,
    "selection.csv": selection,
    "label.json": label,
    "journal": journal,
    "report.json": report,
    "submission.zip": submission,
    "predictions.csv": predictions,
    "predictions.jsonl": predictions,
}


def main() -> None:
    file = FOLDER / "outputs.json"
    outputs = json.loads(file.read_text()) if file.is_file() else {}
    for name in sys.argv[1:] or MAKERS:
        path = FOLDER / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        MAKERS[name](path)
        outputs[name] = READERS[name][0](path)
        file.write_text(json.dumps(outputs, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

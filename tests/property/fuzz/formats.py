"""What the library reads: how a small valid file of each format is made, and which public name reads it."""

from __future__ import annotations

import pickle
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Format:
    """A format: ``make`` fills a folder, ``read`` reads what is in it."""

    make: Callable[[Path], object]
    read: Callable[[Path], object]


def _archive(folder: Path, kind: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "a.txt").write_text("text\n" * 9)
        if kind == "zip":
            with zipfile.ZipFile(folder / "a.zip", "w") as archive:
                archive.write(Path(place) / "a.txt", "in/a.txt")
        else:
            with tarfile.open(folder / f"a.tar.{kind}", f"w:{kind}") as archive:  # type: ignore[call-overload]
                archive.add(Path(place) / "a.txt", "in/a.txt")


def _members(path: Path) -> object:
    from modicum.core.safeload import read_members

    return list(read_members(path, max_members=100, max_bytes=1 << 20))


def _safeload(name: str) -> Callable[[Path], object]:
    from modicum.core import safeload

    return getattr(safeload, name)


def _journal(folder: Path) -> None:
    from modicum.core.journal import Journal

    with Journal(folder) as journal:
        for place in range(3):
            journal.put(f"key {place}", {"seed": place}, {"value": place / 3})


def _read_journal(folder: Path) -> object:
    from modicum.core.journal import Journal

    with Journal(folder) as journal:
        return len(journal), [journal.get(f"key {place}") for place in range(3)]


def _report(folder: Path) -> None:
    from modicum.core.method import Metric
    from modicum.core.report import ArmResult, Difference, Environment, Report, write

    told = dict.fromkeys(("modicum", "python", "torch", "numpy", "platform", "processor", "device"), "1.0")
    machine = Environment(**told, cores=2, commit=None, command="modicum compare", created="2026-11-24T22:00:00+00:00")
    shared: Any = {
        "summary": "An arm.",
        "seconds": 2.0,
        "memory": 512.0,
        "std": 0.1,
        "secondary": {},
        "costs": {},
    }
    base = ArmResult(name="SGD", role="baseline", values=(0.5, 0.6), mean=0.55, **shared)
    ours = ArmResult(name="NSGD", role="method", values=(0.6, 0.7), mean=0.65, **shared)
    found: Any = {
        "values": (0.1, 0.1),
        "mean": 0.1,
        "median": 0.1,
        "low": 0.0,
        "high": 0.2,
        "p_value": 0.5,
        "adjusted": 0.5,
        "verdict": "better",
    }
    report = Report(
        method="nsgd",
        title="NSGD",
        question="Better?",
        metric=Metric(name="accuracy"),
        secondary=(),
        costs=(),
        budget="demo",
        data="digits",
        options={"rate": "1"},
        seeds=(0, 1),
        arms=(base, ours),
        differences=(Difference(arm="NSGD", versus="SGD", **found),),
        verdicts=("It is better.",),
        sources=("Doe 2023.",),
        environment=machine,
        planned=2,
    )
    write([report], folder)
    (folder / "report.md").unlink()
    (folder / "report.html").unlink()


def _read_report(path: Path) -> object:
    from modicum.core.report import load, markdown, page

    reports = load(path)
    return markdown(reports), page(reports)


def _own_csv(folder: Path) -> None:
    rows = [f"{place / 3},{-place},{'ab'[place % 2]}" for place in range(24)]
    (folder / "a.csv").write_text("x,y,label\n" + "\n".join(rows) + "\n")


def _own(path: Path) -> object:
    from modicum.optim.data import own_data

    return own_data(path, 0)


SMILES = ("CCCC", "CC(C)C", "CCCCC", "c1ccccc1", "CCO", "CC(=O)O")
TABLE = "smiles,T,density,density_error\nCCCC,300,580.5,1\nCCCCC,310,610,0.5\nCCCCCC,300,650,1\nCC(C)C,320,550,2\n"


def _pool(path: Path) -> object:
    from modicum.molecules import read_pool

    return read_pool(path), read_pool(path, skip_invalid=True)


def _table(path: Path) -> object:
    from modicum.molecules import read_table

    return read_table(path, "density")


HYPER = """{"a_type": ["Tensorproduct", "fixed"], "atom_AtomicNumber": {"kDelta": [0.75, [0.75, 1.0], 0.05]},
"atom_RingSize_list": {"kConv": [0.9, "fixed"]}, "b_type": ["Additive", "fixed"],
"bond_Order": {"kDelta": [0.9, "fixed"]}, "p_type": ["Additive_p", "fixed"],
"probability_AtomicNumber": {"Const_p": [1.0, "fixed"]}, "q": [0.01, [0.01, 0.5], 0.01],
"Normalization": [100, [1000, 30000]]}"""


def _kernel(path: Path) -> Any:
    from modicum.molecules import MarginalizedGraphKernel

    return MarginalizedGraphKernel.from_json(path)


def _gp(folder: Path) -> None:
    from modicum.molecules import GaussianProcess, read_table

    (folder / "h.json").write_text(HYPER)
    (folder / "t.csv").write_text(TABLE)
    process = GaussianProcess(_kernel(folder / "h.json")).fit(read_table(folder / "t.csv", "density"))
    (folder / "h.json").unlink()
    (folder / "t.csv").unlink()
    process.save(folder, hyperparameters=HYPER)


def _load_gp(folder: Path) -> object:
    from modicum.molecules import GaussianProcess

    return GaussianProcess.load(folder, _kernel)


TEXTS = 'id,text,sarcastic,rephrase,dialect,language\n1,"Oh, great ",1,Bad,,en\n'
TEXTS += '2,"Fine\nday",0,,,en\n3,يا سلام,1,سيء,nile,ar\n'
LINES = (
    '{"text": "Oh great", "sarcastic": 1, "language": "en"}\n{"text": "Fine", "sarcastic": 0, "more": [1, {"a": 2}]}\n'
)
VOTES = "text,sarcasm_ref,human_aggregated,#humans_sarcasm\na,1,0,2\nb,0,1,5\n"


def _rows(path: Path) -> object:
    from modicum.sarcasm.data.tables import read_rows

    return read_rows(path), read_rows(path, skip_empty=True)


def _votes(path: Path) -> object:
    from modicum.sarcasm.data.isarcasm import read_vote_file

    return read_vote_file(path, "A")


def _submission(path: Path) -> object:
    from modicum.sarcasm.evaluate.predictions import read_submission

    return read_submission(path)


def _sarcasm(folder: Path) -> None:
    from modicum.sarcasm.data.preparation import PRESETS
    from modicum.sarcasm.fitting import fit_system
    from modicum.sarcasm.linear import LinearLearner
    from modicum.sarcasm.written import read_written

    known = [*read_written("en")[:30], *read_written("ar")[:30]]
    system = fit_system(known, LinearLearner(), robustness=PRESETS["modicum"], folds=2).system
    folder.rmdir()
    system.save(folder)


def _load_sarcasm(folder: Path) -> object:
    from modicum.sarcasm import SarcasmSystem

    return SarcasmSystem.load(folder)


def _recordings() -> Any:
    from tests.unit.fusion.made_up import recordings

    return recordings(6, words=True)


def _save_recordings(path: Path) -> None:
    from modicum.fusion import save_recordings

    save_recordings(path, {"train": _recordings(), "test": _recordings()})


def _open(path: Path) -> object:
    from modicum.fusion import open_recordings

    return open_recordings(path)


def _csd(folder: Path) -> None:
    from tests.unit.fusion.made_up import write_csd

    from modicum.fusion.readers.csd import Csd, Timed

    times = np.array([[0.0, 0.5], [0.5, 1.0]])
    write_csd(
        folder / "COVAREP.csd",
        Csd(name="COVAREP", videos={"abc": Timed(intervals=times, features=np.ones((2, 3), np.float32))}),
    )
    words = np.array([["so"], ["good"]])
    write_csd(folder / "words.csd", Csd(name="words", videos={"abc": Timed(intervals=times, features=words)}))


def _avec(folder: Path) -> None:
    rows = "name;frameTime;a;b\n'x';0.0;1.5;2\n'x';0.1;1;2\n"
    for split, ids in {"train": (300, 302), "dev": (301,)}.items():
        (folder / f"{split}_split.csv").write_text(
            "Participant_ID,Gender,PHQ_Score\n" + "".join(f"{it},1,4\n" for it in ids)
        )
        for it in ids:
            (folder / "egemaps").mkdir(exist_ok=True)
            (folder / "egemaps" / f"{it}_egemaps.csv").write_text(rows)


def _dump(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content))


def _mmsa(folder: Path) -> None:
    part = {
        "raw_text": ["it was good", "no"],
        "id": ["abc$_$1", "abc$_$12"],
        "text": np.ones((2, 6, 3), np.float32),
        "audio": np.ones((2, 6, 2), np.float32),
        "vision": np.ones((2, 6, 2), np.float32),
        "audio_lengths": [6, 2],
        "vision_lengths": [5, 1],
        "regression_labels": np.array([1.4, -3.0]),
    }
    _dump(folder / "a.pkl", {"train": part, "valid": dict(part), "test": dict(part)})


def _mult(folder: Path) -> None:
    part = {
        "id": np.array([["abc[0]", "0", "1"], ["abc[1]", "1", "2"]], dtype=object),
        "text": np.ones((2, 6, 3)),
        "audio": np.ones((2, 6, 2)),
        "vision": np.ones((2, 6, 2)),
        "labels": np.array([[[1.4]], [[-3.0]]]),
    }
    _dump(folder / "a.pkl", {"train": part, "valid": dict(part), "test": dict(part)})


def _misa(folder: Path) -> None:
    item = [[["so", "very", "good"], np.ones((3, 2)), np.ones((3, 4))], np.array([[1.5]]), "abc[3]"]
    _dump(folder / "train.pkl", [item, [*item[:2], "abc[4]"]])


def _released(folder: Path) -> None:
    vectors = [np.full((2, 5), float(number)) for number in range(4)]
    features = [
        [np.array(["so", "good"]), *vectors[:3], np.full(5, 4.0), vectors[3]],
        [np.full((2, 2 + number), 1.0) for number in range(3)],
        [np.full((2, 4 + number), 1.0) for number in range(3)],
    ]
    item = [features, np.array(1.5), 1, 5]
    _dump(folder / "mosi_train.pkl", [[*item, "abc[3]"], [*item, "abc[4]"]])


def _fusion(folder: Path) -> None:
    from tests.unit.fusion.made_up import recordings

    from modicum.fusion import Recipe, configure, fit

    drawn = recordings(16)
    system = fit(drawn, config=configure(drawn, channels=4, layers=1), recipe=Recipe(epochs=1, batch=16, rate=5e-3))
    folder.rmdir()
    system.save(folder)


def _load_fusion(folder: Path) -> object:
    from modicum.fusion import FusionSystem

    return FusionSystem.load(folder)


def _quantized(folder: Path) -> None:
    from tests.unit.quantize.random_models import ResidualNet, random_model

    random_model(ResidualNet(), shape=ResidualNet.shape).save(folder / "a.safetensors")


def _load_quantized(path: Path) -> object:
    from modicum.quantize import QuantizedModel

    return QuantizedModel.load(path)


PREPARATION = """{"do_resize": true, "size": {"shortest_edge": 8}, "crop_pct": 0.875, "do_center_crop": true,
"crop_size": {"height": 8, "width": 8}, "resample": 3, "do_rescale": true, "rescale_factor": 0.00392156862745098,
"do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.2, 0.2, 0.2],
"image_processor_type": "ConvNextImageProcessor"}"""


def _network(folder: Path) -> None:
    from transformers import ResNetConfig, ResNetForImageClassification

    sizes = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # noqa: TID251 - forked
        ResNetForImageClassification(sizes).save_pretrained(folder)


def _open_network(folder: Path) -> object:
    from modicum.quantize import open_network

    return open_network(str(folder))


def _images(folder: Path) -> None:
    from PIL import Image

    for name in ("a.png", "b.jpg", "c.gif", "d.bmp"):
        Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(folder / name)
    (folder / "preprocessor_config.json").write_text(PREPARATION)


def _read_images(folder: Path) -> object:
    from modicum.quantize.io.images import read_preparation, read_samples

    return read_samples(folder, preparation=lambda: read_preparation(folder))


def _read_test(path: Path) -> object:
    from modicum.quantize.io.images import read_samples, read_test

    return read_test(path), read_samples(path)


def _one(read: Callable[[Path], object]) -> Callable[[Path], object]:
    """Give a reader of the one file of a folder."""
    return lambda folder: read(next(path for path in folder.iterdir()))


def _text(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


WEIGHTS = {"weight": torch.ones(2, 3), "epoch": 3, "names": ["a", "b"]}
X = np.linspace(-1, 1, 24 * 48, dtype=np.float32).reshape(24, 3, 4, 4)
Y = np.arange(24) % 2

FORMATS: dict[str, Format] = {
    "pickle": Format(
        lambda it: _dump(it / "a.pkl", {"a": np.arange(6.0), "b": [1, "x", (2, {"y": None})]}),
        _one(_safeload("load_pickle")),
    ),
    "npy": Format(lambda it: np.save(it / "a.npy", X), _one(_safeload("load_npy"))),
    "npz": Format(lambda it: np.savez(it / "a.npz", x=X, t=np.array(["é"])), _one(_safeload("load_npz"))),
    "torch": Format(lambda it: torch.save(WEIGHTS, it / "a.pt"), _one(_safeload("load_torch"))),
    "torch-old": Format(
        lambda it: torch.save(WEIGHTS, it / "a.pt", _use_new_zipfile_serialization=False),
        _one(_safeload("load_torch")),
    ),
    "zip": Format(lambda it: _archive(it, "zip"), _one(_members)),
    "tar-gz": Format(lambda it: _archive(it, "gz"), _one(_members)),
    "tar-xz": Format(lambda it: _archive(it, "xz"), _one(_members)),
    "journal": Format(_journal, _read_journal),
    "report": Format(_report, _one(_read_report)),
    "own-csv": Format(_own_csv, _one(_own)),
    "own-npz": Format(lambda it: np.savez(it / "a.npz", x=X, y=Y), _one(_own)),
    "smi": Format(_text("a.smi", "\n".join(SMILES)), _one(_pool)),
    "pool-csv": Format(_text("a.csv", "name,SMILES\n" + "".join(f"n,{it}\n" for it in SMILES)), _one(_pool)),
    "table": Format(_text("a.csv", TABLE), _one(_table)),
    "hyperparameters": Format(_text("a.json", HYPER), _one(_kernel)),
    "gp": Format(_gp, _load_gp),
    "sarcasm-csv": Format(_text("a.csv", TEXTS), _one(_rows)),
    "sarcasm-jsonl": Format(_text("a.jsonl", LINES), _one(_rows)),
    "votes": Format(_text("a.csv", VOTES), _one(_votes)),
    "submission": Format(_text("a.txt", "task_a_en\n0\n1\n0\n"), _one(_submission)),
    "sarcasm-system": Format(_sarcasm, _load_sarcasm),
    "recordings-npz": Format(lambda it: _save_recordings(it / "a.npz"), _one(_open)),
    "recordings-safetensors": Format(lambda it: _save_recordings(it / "a.safetensors"), _one(_open)),
    "csd": Format(_csd, _open),
    "avec": Format(_avec, _open),
    "mmsa": Format(_mmsa, _one(_open)),
    "mult": Format(_mult, _one(_open)),
    "misa": Format(_misa, _open),
    "released": Format(_released, _open),
    "fusion-system": Format(_fusion, _load_fusion),
    "network": Format(_network, _open_network),
    "quantized": Format(_quantized, _one(_load_quantized)),
    "images": Format(_images, _read_images),
    "image-arrays": Format(lambda it: np.savez(it / "a.npz", x=X, y=Y), _one(_read_test)),
}


def copied(source: Path, target: Path) -> list[Path]:
    """Copy a folder, and give its files in the order of their names."""
    shutil.copytree(source, target)
    return sorted(path for path in target.rglob("*") if path.is_file())

"""The commands on networks as a user meets them."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.e2e.in_process import heeding_interrupts, run_here
from transformers import ResNetConfig, ResNetForImageClassification

Done = subprocess.CompletedProcess[str]

COMMAND = [sys.executable, "-m", "modicum", "quantize"]
IMAGES = np.random.default_rng(0).normal(size=(16, 3, 16, 16)).astype(np.float32)


def run(*arguments: str | Path, cwd: Path) -> Done:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, images, and the network that the first command made of them."""
    folder = tmp_path_factory.mktemp("quantize")
    sizes = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    sizes.num_labels = 4
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # noqa: TID251 - forked
        ResNetForImageClassification(sizes).save_pretrained(folder / "model")
    np.save(folder / "images.npy", IMAGES)
    np.save(folder / "dark.npy", np.zeros_like(IMAGES[:4]))
    np.savez(folder / "test.npz", x=IMAGES, y=np.arange(16) % 4)
    done = run_here(
        *("quantize", "run", "model", "--calibration", "images.npy", "--weights", "2", "--test", "test.npz"),
        *("--out", "small.safetensors", "--json"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    (folder / "run.json").write_text(done.stdout)
    return folder


def test_a_model_becomes_one_certified_file(place: Path) -> None:
    told = json.loads((place / "run.json").read_text())
    assert told["certificate"]["holds"]
    assert told["certificate"]["exact_in_float32"]
    assert told["file_bytes"] == (place / "small.safetensors").stat().st_size
    assert told["accuracy"]["images"] == 16
    assert {layer["powers_of_two"] for layer in told["certificate"]["layers"]} == {1.0}


def test_verify_proves_the_file_and_tells_by_its_status(place: Path) -> None:
    done = run_here("quantize", "verify", "small.safetensors", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "The certificate holds: every scale is a power of two" in done.stdout


def test_export_writes_onnx_that_agrees_and_c(place: Path) -> None:
    done = run_here(
        *(
            "quantize",
            "export",
            "small.safetensors",
            "--onnx",
            "small.onnx",
            "--c",
            "source",
            "--example",
            "images.npy",
            "--json",
        ),
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["onnx"]["plain"]["equal"] == told["onnx"]["optimised"]["equal"] == 1.0  # RAPQ-C10
    assert {path.name for path in (place / "source").iterdir()} == {"model.c", "model.h"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("run model --calibration images.npy --weights 9 --out a.safetensors", "from 2 to 8, but it is 9"),
        ("run nowhere --calibration images.npy --out a.safetensors", "There is no folder nowhere"),
        ("run model --calibration gone.npy --out a.safetensors", "There is nothing at gone.npy"),
        ("run model --calibration images.npy --layer x=4 --out a.safetensors", "'x', which is no layer"),
        ("run model --calibration images.npy --out a.bin", "must end in .safetensors"),
        ("run model --calibration images.npy --out gone/a.safetensors", "gone/a.safetensors cannot be written"),
        ("run model --calibration images.npy --device cuda:7 --out a.safetensors", "cannot use the device 'cuda:7'"),
        ("run model --calibration dark.npy --out a.safetensors", "All 4 calibration samples are one value"),
        ("verify cut.safetensors", "no complete safetensors file"),
        ("export small.safetensors", "nothing to export to"),
        ("export small.safetensors --onnx small.safetensors", "--onnx must end in .onnx, got small.safetensors"),
        ("export small.onnx --onnx small.onnx", "--onnx small.onnx is a file that is read"),
        ("export small.safetensors --c small.safetensors", "--c small.safetensors is no folder"),
        (
            "run model --calibration images.npy --out model/model.safetensors",
            "--out model/model.safetensors is in model, a folder that is read",
        ),
    ],
)
def test_nonsense_is_two_sentences_and_status_2(place: Path, arguments: str, said: str) -> None:
    refused(lambda *them, cwd: run_here("quantize", *them, cwd=cwd), place, arguments, said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("run model --calibration gone.npy --out a.safetensors", "There is nothing at gone.npy"),
        ("run model --calibration images.npy --weights 9 --out a.safetensors", "from 2 to 8, but it is 9"),
        ("export small.safetensors --onnx gone/a.onnx", "gone/a.onnx cannot be written"),
    ],
)
def test_a_process_of_its_own_tells_the_same_before_torch_is_imported(place: Path, arguments: str, said: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    refused(run, place, arguments, said)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2  # torch alone takes more


def test_a_file_that_cannot_be_exported_does_not_stop_the_other(place: Path) -> None:
    half_up = ("--rounding", "half_up", "--out", "up.safetensors")  # onnxruntime rounds half to even
    assert run_here("quantize", "run", "model", "--calibration", "images.npy", *half_up, cwd=place).returncode == 0
    done = run_here("quantize", "export", "up.safetensors", "--onnx", "up.onnx", "--c", "up", "--json", cwd=place)
    assert done.returncode == 1
    assert "--onnx was not written" in done.stderr
    assert list(json.loads(done.stdout)) == ["file", "c", "failed"]
    assert "round(x / 2^" in (place / "up" / "model.h").read_text()
    assert not (place / "up.onnx").exists()


def refused(run: Callable[..., Done], place: Path, arguments: str, said: str) -> None:
    (place / "cut.safetensors").write_bytes((place / "small.safetensors").read_bytes()[:-100])
    (place / "small.onnx").touch()
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    done = run(*arguments.split(), cwd=place)
    assert done.returncode == 2
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stopped_run_leaves_no_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *_: signal.raise_signal(signal.SIGINT))  # in the descent
    options = ("--calibration", "images.npy", "--method", "paper", "--out", "stopped.safetensors")
    with heeding_interrupts():
        done = run_here("quantize", "run", "model", *options, cwd=place)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped. No file was left half-written.\n")
    assert not list(place.glob("stopped*"))

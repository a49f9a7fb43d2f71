"""onnxruntime gives what torch gives, for any batch and any time."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.exceptions import NotFittedError
from transformers import BertConfig

import modicum.fusion.export
from modicum.core.seeding import seeded_globally, torch_generator
from modicum.errors import ConfigError, MissingExtraError, RunError
from modicum.fusion.configuration import CubeMLPConfig, Stream
from modicum.fusion.estimators import CubeMLPClassifier, CubeMLPRegressor
from modicum.fusion.export import export_onnx, onnx_inputs
from modicum.fusion.modeling import CubeMLPForPrediction

pytestmark = pytest.mark.slow  # all of them together

BERT = BertConfig(
    vocab_size=40,
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=120,
)
TEXT = Stream(name="text", size=8, text=True)
AUDIO = Stream(name="audio", size=5, per_word=True)  # two layers of GRU
VIDEO = Stream(name="video", size=4, encoder="conv")
GAZE = Stream(name="gaze", size=2, encoder="linear")
PULSE = Stream(name="pulse", size=1, encoder="lstm", layers=1)


def model(*streams: Stream, **settings: Any) -> CubeMLPForPrediction:
    count = len(streams)
    encoder = BERT if TEXT in streams else None
    with seeded_globally(0, "initialisation"):
        config = CubeMLPConfig(
            [100, count, 6], [[4, count, 5]], streams=streams, text_encoder=encoder, outputs=2, **settings
        )
        built = CubeMLPForPrediction(config).eval()
        if built.absent is not None:
            torch.nn.init.normal_(built.absent)
    return built


def compare(network: CubeMLPForPrediction, path: Path, batch: int, times: dict[str, int]) -> float:
    """Give the largest difference in a batch of samples of random lengths."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    draw = torch_generator(batch, str(times))
    features = {
        stream.name: torch.randn(batch, times[stream.name], stream.size, generator=draw)
        for stream in network.config.modalities
        if not stream.text
    }
    lengths = {name: torch.randint(0, times[name] + 1, (batch,), generator=draw) for name in features}
    first = next(iter(lengths))
    lengths[first] = lengths[first].clamp(min=1)  # no sample lacks all of its streams
    text: dict[str, torch.Tensor] = {}
    if network.text is not None:
        shape = (batch, times["text"])
        ends = torch.randint(0, times["text"] + 1, (batch, 1), generator=draw)
        text = {
            "input_ids": torch.randint(0, 40, shape, generator=draw),
            "attention_mask": (torch.arange(times["text"]) < ends).long(),
            "word_ids": torch.randint(-1, times["audio"], shape, generator=draw),
        }
    with torch.no_grad():
        wanted = network(features, lengths, **text).logits.numpy()
    named = {**features, **{f"{name}_lengths": values for name, values in lengths.items()}, **text}
    (found,) = session.run(["logits"], {name: values.numpy() for name, values in named.items()})
    return float(np.abs(found - wanted).max())


def test_text_words_and_frames_run_in_onnxruntime(tmp_path: Path) -> None:  # CUBEMLP-C12
    network, path = model(TEXT, AUDIO, VIDEO, overflow="pool", frozen_layers=1).train(), tmp_path / "model.onnx"
    assert export_onnx(network, path) < 1e-5
    assert network.training
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    network.eval()
    for batch in (1, 7):
        for time in (1, 33, 100):
            assert compare(network, path, batch, {"text": time, "audio": time, "video": time}) < 1e-5
    assert compare(network, path, 7, {"text": 20, "audio": 9, "video": 430}) < 1e-5
    assert compare(network, path, 2, {"text": 6, "audio": 130, "video": 1}) < 1e-5


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    assert export_onnx(model(GAZE, PULSE), path) < 1e-5
    return path


def test_other_encoders_run_in_onnxruntime(exported: Path) -> None:  # CUBEMLP-C12
    for gaze, pulse in ((1, 1), (33, 100), (250, 33)):
        assert compare(model(GAZE, PULSE), exported, 7, {"gaze": gaze, "pulse": pulse}) < 1e-5


@pytest.mark.parametrize("kind", ["regressor", "classifier"])
def test_the_file_of_an_estimator_takes_features_as_they_are_and_gives_what_predict_gives(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    y = draw.normal(size=32)
    shapes = {"audio": (5, 400.0), "video": (3, 1e-3)}
    X = {
        name: scale * (7 + y[:, None, None] + draw.normal(size=(32, 6, size))) for name, (size, scale) in shapes.items()
    }
    X["video"][:, :, 2] = 8  # a feature that never changes
    settings: dict[str, Any] = {"encoder": "linear", "channels": 8, "epochs": 3}
    if kind == "regressor":
        fitted: Any = CubeMLPRegressor(**settings).fit(X, 120 + 9 * y)
        wanted = fitted.predict(X)[:, None]
    else:
        fitted = CubeMLPClassifier(**settings).fit(X, y > 0)
        wanted = fitted.predict_proba(X)
    path = tmp_path / "model.onnx"
    export_onnx(fitted if kind == "regressor" else fitted.system_, path)
    if kind == "classifier":  # that of the estimator gives the same: the comparison within refuses all else
        monkeypatch.setattr(modicum.fusion.export, "write_onnx", lambda *given, **_: shutil.copy(path, given[2]))
        export_onnx(fitted, tmp_path / "again.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    lengths = {f"{stream}_lengths": np.full(32, 6) for stream in X}
    given = {stream: values.astype(np.float32) for stream, values in X.items()}
    (found,) = session.run(["predicted"], {**given, **lengths})
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-5, atol=1e-4)
    with pytest.raises(NotFittedError):
        export_onnx(CubeMLPRegressor(), tmp_path / "none.onnx")


def test_the_file_takes_what_it_says() -> None:
    text = ["input_ids", "attention_mask"]
    features = ["audio", "audio_lengths", "video", "video_lengths"]
    assert onnx_inputs(model(TEXT, AUDIO, VIDEO).config) == [*features, *text, "word_ids"]
    assert onnx_inputs(model(TEXT, VIDEO).config) == [*features[2:], *text]


def test_a_file_that_differs_is_not_written(tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"an older file")
    write = lambda network, inputs, part, **settings: shutil.copy(exported, part)  # of other weights
    monkeypatch.setattr(modicum.fusion.export, "write_onnx", write)
    changed = model(GAZE, PULSE)
    with torch.no_grad():
        next(changed.parameters()).add_(1)
    with pytest.raises(RunError, match="onnxruntime differs from torch by"):
        export_onnx(changed, path)
    assert path.read_bytes() == b"an older file"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"in torch\.float64 cannot be exported"):
        export_onnx(model(GAZE, VIDEO).double(), tmp_path / "model.onnx")


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_library_is_named(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"needs {library}, .*pip install 'modicum\[quantize\]'"):
        export_onnx(model(GAZE, VIDEO), tmp_path / "model.onnx")

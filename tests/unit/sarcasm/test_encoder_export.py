"""ONNX files against torch, and int8 only where labels stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tests.unit.sarcasm.tiny_encoder import write_encoder, write_examples
from transformers import AutoTokenizer

from modicum.errors import ConfigError
from modicum.sarcasm.configuration import EncoderSettings
from modicum.sarcasm.encoder.export import FLOAT_FILE, INT8_FILE, ExportReport, export_onnx
from modicum.sarcasm.encoder.model import EncoderModel
from modicum.sarcasm.encoder.training import EncoderLearner

TEXTS = [example.text for example in write_examples(40, seed=2)]


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> EncoderLearner:
    place = write_encoder(tmp_path_factory.mktemp("encoder"), layers=1)
    settings = EncoderSettings(epochs=6, batch=8, rate=3e-3, pooling="mean")
    return EncoderLearner(encoder=place, settings=settings, length=24)


@pytest.fixture(scope="module")
def model(learner: EncoderLearner) -> EncoderModel:
    return learner.fit(write_examples(60), seed=0)


@pytest.fixture(scope="module")
def exported(model: EncoderModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportReport]:
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    return folder, export_onnx(model, folder, TEXTS, int8=True, least_agreement=0.5)


def test_the_file_gives_the_logits_of_torch_at_any_batch_and_length(
    model: EncoderModel, exported: tuple[Path, ExportReport]
) -> None:
    folder, report = exported
    assert report.difference < 1e-4
    session = onnxruntime.InferenceSession(folder / FLOAT_FILE)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for texts in (TEXTS[:1], TEXTS[:7], ["wow"], ["the cat sat on a mat " * 3] * 2):
        inputs: Any = tokenizer(texts, padding=True, return_tensors="np")
        found: Any = session.run(None, dict(inputs))
        np.testing.assert_allclose(found[0], model(texts).sarcastic, atol=1e-4)
        assert [part.shape for part in found] == [(len(texts),), (len(texts), 6), (len(texts),)]


def test_int8_is_written_where_enough_labels_stay(model: EncoderModel, exported: tuple[Path, ExportReport]) -> None:
    folder, report = exported
    assert report.int8_written
    assert report.int8_agreement is not None
    session = onnxruntime.InferenceSession(folder / INT8_FILE)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs: Any = tokenizer(TEXTS, padding=True, return_tensors="np")
    found: Any = session.run(["sarcastic"], dict(inputs))[0]
    # Activations are quantized over a whole batch, and this is another one than the report's: a label may differ.
    assert np.mean((found > 0) == (model(TEXTS).sarcastic > 0)) == pytest.approx(report.int8_agreement, abs=0.05)
    assert report.int8_difference is not None
    assert report.int8_difference > report.difference
    assert str(report) == (
        f"model.onnx: logits of 40 texts differ by at most {report.difference:.2g}. "
        f"model.int8.onnx: {report.int8_agreement:.2%} of labels agree; written."
    )


def test_int8_is_not_written_where_too_few_labels_stay(
    learner: EncoderLearner, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = replace(learner, settings=replace(learner.settings, pooling="cls")).fit(write_examples(60), seed=0)
    report = export_onnx(model, tmp_path / "onnx", TEXTS, int8=True, threshold=1e6, least_agreement=1.01)
    assert capfd.readouterr() == ("", "")
    assert report.difference < 1e-4
    assert report.int8_agreement == 1, "no logit is above such a threshold"
    assert not report.int8_written
    assert sorted(path.name for path in (tmp_path / "onnx").glob("*.onnx")) == [FLOAT_FILE]
    assert str(report).endswith("100.00% of labels agree; not written, since too many differ.")


def test_there_must_be_texts_to_compare_on(model: EncoderModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no text to compare the exported model on. Give some"):
        export_onnx(model, tmp_path / "onnx", [])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_left_alone(model: EncoderModel, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ConfigError, match=r"has files in it. Name a new folder."):
        export_onnx(model, tmp_path, TEXTS)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

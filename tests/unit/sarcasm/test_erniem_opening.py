"""An ERNIE-M as the encoder of a sarcasm model."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from tests.unit.sarcasm import erniem_reference as reference
from tests.unit.sarcasm.erniem_folder import HEADS, LAYERS, random_weights, settings, vocabulary, write_folder
from tests.unit.sarcasm.tiny_encoder import write_examples
from transformers import XLMRobertaModel

from modicum.core.seeding import torch_generator
from modicum.errors import ConfigError
from modicum.sarcasm.configuration import EncoderSettings
from modicum.sarcasm.encoder.explanation import explain
from modicum.sarcasm.encoder.model import EncoderModel, FrozenEncoder, encoder_folder, open_tokenizer
from modicum.sarcasm.encoder.modeling import Head, SarcasmModel
from modicum.sarcasm.encoder.training import EncoderLearner
from modicum.sarcasm.erniem import ErnieMTokenizer
from modicum.sarcasm.models import compare_texts

EXAMPLES = write_examples(16) + write_examples(16, language="ar")
TEXTS = ["the cat loves rain!", "مرحبا جدا", "wow, 123abc 中文。", "great wonderful meetings again on monday"]
PAIRS = list(zip(TEXTS, TEXTS[::-1], strict=True))


@pytest.fixture(scope="module", params=["pytorch_model.bin", "model_state.pdparams"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ernie") / "m"
    return write_folder(folder, random_weights(head=False), file=request.param)


@pytest.fixture(scope="module")
def model(place: Path) -> EncoderModel:
    settings = EncoderSettings(epochs=1, batch=8, rate=1e-3)
    return EncoderLearner(encoder=str(place), settings=settings).fit(EXAMPLES, seed=0)


def test_it_is_trained_saved_and_loaded(model: EncoderModel, tmp_path: Path) -> None:
    outputs = model(TEXTS)
    assert len(set(outputs.sarcastic)) == len(TEXTS)
    model.save(tmp_path / "model")
    loaded = EncoderModel.load(tmp_path / "model")
    assert isinstance(loaded.tokenizer, ErnieMTokenizer)
    mine, yours = model.model.state_dict(), loaded.model.state_dict()
    assert mine.keys() == yours.keys()
    assert all(torch.equal(mine[name], yours[name]) for name in mine)
    np.testing.assert_allclose(loaded(TEXTS).sarcastic, outputs.sarcastic, rtol=0, atol=1e-6)
    np.testing.assert_allclose(compare_texts(loaded, PAIRS), compare_texts(model, PAIRS), rtol=0, atol=1e-6)
    assert not [path for path in (tmp_path / "model").rglob("*") if path.suffix in {".bin", ".pdparams", ".pkl"}]


def test_training_begins_at_its_weights(place: Path) -> None:
    source = random_weights(head=False)["ernie_m.encoder.layers.0.linear1.weight"]
    settings = EncoderSettings(epochs=1, batch=8, rate=1e-12)
    trained = EncoderLearner(encoder=str(place), settings=settings).fit(EXAMPLES, seed=0)
    found = trained.model.state_dict()
    (name,) = (name for name in found if name.endswith("layer.0.intermediate.dense.weight"))
    torch.testing.assert_close(found[name], source)


@torch.no_grad()
def test_each_head_begins_with_its_pooler(place: Path) -> None:
    folder = encoder_folder(str(place))
    model = SarcasmModel.from_encoder(folder).eval()
    weights = random_weights(head=False)
    ids = torch.randint(4, len(vocabulary()), (3, 9), generator=torch_generator(1, "ids"))
    mask = (torch.arange(9) < torch.tensor([[9], [5], [1]])).long()
    ids = torch.where(mask > 0, ids, 1)
    wanted = reference.pooled(weights, ids, mask, layers=LAYERS, heads=HEADS)
    outputs = model(ids, mask)
    heads = {"sarcastic": model.sarcastic, "categories": model.categories, "rank": model.rank}
    first = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
    for name, head in heads.items():
        assert torch.equal(head.dense.weight, weights["ernie_m.pooler.dense.weight"])
        torch.testing.assert_close(torch.tanh(head.dense(first)), wanted, rtol=0, atol=1e-6)
        logits = wanted @ head.out_proj.weight.T + head.out_proj.bias
        torch.testing.assert_close(outputs[name].view_as(logits), logits, rtol=0, atol=1e-6)
    assert len({head.dense.weight.data_ptr() for head in heads.values()}) == 3, "the heads share a layer"


def test_what_is_drawn_is_drawn_as_for_any_other_encoder(place: Path, tmp_path: Path) -> None:
    folder = encoder_folder(str(place))
    XLMRobertaModel.from_pretrained(folder, add_pooling_layer=False).save_pretrained(tmp_path)
    pooled, plain, mean = (
        SarcasmModel.from_encoder(it, seed=3, pooling=pooling)  # type: ignore[arg-type]
        for it, pooling in ((folder, "cls"), (str(tmp_path), "cls"), (folder, "mean"))
    )
    drawn = plain.state_dict()
    differ = {name for name, it in pooled.state_dict().items() if not torch.equal(it, drawn[name])}
    assert differ == {f"{head}.dense.{kind}" for head in get_args(Head) for kind in ("weight", "bias")}
    assert all(torch.equal(it, drawn[name]) for name, it in mean.state_dict().items())


def test_a_pooler_in_half_precision_is_trained_in_single(tmp_path: Path) -> None:
    halved = {name: it.half() for name, it in random_weights().items()}
    model = SarcasmModel.from_encoder(encoder_folder(str(write_folder(tmp_path / "m", halved))))
    assert {it.dtype for it in model.parameters()} == {torch.float32}
    assert torch.equal(model.rank.dense.bias, halved["ernie_m.pooler.dense.bias"].float())


def test_outputs_do_not_depend_on_what_stands_beside_a_text(model: EncoderModel) -> None:  # XPUDU-C6
    together = model(TEXTS).sarcastic
    alone = [model([text]).sarcastic[0] for text in TEXTS]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)
    back = [(second, first) for first, second in PAIRS]
    np.testing.assert_allclose(compare_texts(model, back), -compare_texts(model, PAIRS), rtol=0, atol=1e-7)


def test_it_is_explained_in_characters(model: EncoderModel) -> None:  # XPUDU-C8
    for text in TEXTS:
        found = explain(model, text)
        assert sum(it.share for it in found.tokens) == pytest.approx(found.logit - found.baseline, abs=1e-3)
        assert "".join(text[it.start : it.end] for it in found.tokens) == text.replace(" ", "")


def test_it_may_stay_frozen(place: Path) -> None:
    encoder = FrozenEncoder(str(place))
    vectors = encoder(TEXTS)
    assert vectors.shape == (len(TEXTS), settings()["hidden_size"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    np.testing.assert_allclose(vectors[1:2], encoder(TEXTS[1:2]), rtol=0, atol=1e-6)


def test_a_frozen_encoder_tells_what_it_cuts(place: Path) -> None:
    with pytest.warns(UserWarning, match=r"1 of 2 texts have more than 8 tokens and were cut there"):
        FrozenEncoder(str(place), longest=8)(["the cat", "the cat loves rain " * 8])


def test_it_is_converted_once_and_its_tokenizer_is_opened(place: Path) -> None:
    assert encoder_folder(str(place)) == encoder_folder(str(place))
    assert Path(encoder_folder(str(place))) != place
    assert isinstance(open_tokenizer(str(place)), ErnieMTokenizer)


def test_texts_have_no_more_tokens_than_its_positions(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"cut at 513 tokens, but the encoder takes 4 to 512"):
        EncoderLearner(encoder=str(place), length=513).fit(EXAMPLES, seed=0)

"""A converted folder gives what the equations of ERNIE-M give, and is whole or not there."""

from __future__ import annotations

import os
import pickle
import resource
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.unit.sarcasm import erniem_reference as reference
from tests.unit.sarcasm.erniem_folder import (
    HEADS,
    HIDDEN,
    LABELS,
    LAYERS,
    encode,
    in_paddle,
    random_weights,
    vocabulary,
    write_folder,
)
from torch import Tensor

from modicum.core.seeding import torch_generator
from modicum.errors import ConfigError, DataError, ModelError, UnsafeFileError
from modicum.sarcasm.erniem import (
    ErnieMTokenizer,
    convert_ernie_m,
    has_ernie_m_tokenizer,
    is_ernie_m,
    open_ernie_m,
    positions,
    read_pooler,
)

FILES = ["pytorch_model.bin", "model.safetensors", "model_state.pdparams", "ernie_m_base.pdparams"]
SHAPE = {"layers": LAYERS, "heads": HEADS}


def opened(folder: Path, **options: Any) -> Any:
    return transformers.AutoModelForSequenceClassification.from_pretrained(folder, **options)


def batch(*, left: bool) -> tuple[Tensor, Tensor]:
    """Draw rows of 9, 5 and 1 tokens."""
    ids = torch.randint(4, len(vocabulary()), (3, 9), generator=torch_generator(1, "ids"))
    counts = torch.tensor([[9], [5], [1]])
    slots = torch.arange(9)
    mask = ((slots >= 9 - counts) if left else (slots < counts)).long()
    return torch.where(mask > 0, ids, 1), mask


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("erniem")
    return convert_ernie_m(write_folder(place / "source", random_weights()), place / "converted")


@torch.no_grad()
@pytest.mark.parametrize("file", FILES)
def test_right_padded_logits_are_those_of_the_equations(file: str, tmp_path: Path) -> None:  # XPUDU-C3
    folder = convert_ernie_m(write_folder(tmp_path / "source", random_weights(), file=file), tmp_path / "out")
    model, info = opened(folder, output_loading_info=True)
    assert not any(info.values())
    ids, mask = batch(left=False)
    wanted = reference.logits(random_weights(), ids, mask, **SHAPE)
    found = model.eval()(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    explicit = model(input_ids=ids, attention_mask=mask, position_ids=positions(ids)).logits
    torch.testing.assert_close(explicit, wanted, rtol=0, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("left", [False, True])
def test_hidden_states_are_those_of_the_equations(attention: str, left: bool, converted: Path) -> None:  # XPUDU-C3
    model = transformers.AutoModel.from_pretrained(converted, add_pooling_layer=False, attn_implementation=attention)
    ids, mask = batch(left=left)
    exact = {name: tensor.double() for name, tensor in random_weights().items()}
    wanted = reference.hidden_states(exact, ids, mask, **SHAPE)
    model = model.double().eval()
    found = model(input_ids=ids, attention_mask=mask, position_ids=positions(ids)).last_hidden_state
    torch.testing.assert_close(found[mask > 0], wanted[mask > 0], rtol=0, atol=1e-12)


@torch.no_grad()
def test_left_padding_needs_positions(converted: Path) -> None:  # XPUDU-C3
    model = opened(converted).eval()
    ids, mask = batch(left=True)
    wanted = reference.logits(random_weights(), ids, mask, **SHAPE)
    found = model(input_ids=ids, attention_mask=mask, position_ids=positions(ids)).logits
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    without = model(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(without[0], wanted[0], rtol=0, atol=1e-6)  # no padding in this row
    assert ((without - wanted)[1:].abs().amax(dim=1) > 1e-2).all()


@torch.no_grad()
def test_padding_within_a_text_needs_positions(converted: Path) -> None:
    model = opened(converted).eval()
    ids, mask = batch(left=False)
    ids[0, 4] = 1
    wanted = reference.logits(random_weights(), ids, mask, **SHAPE)
    found = model(input_ids=ids, attention_mask=mask, position_ids=positions(ids)).logits
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    assert (model(input_ids=ids, attention_mask=mask).logits - wanted)[0].abs().max() > 1e-2


def test_without_a_classifier_only_the_last_map_is_new(tmp_path: Path) -> None:
    folder = convert_ernie_m(write_folder(tmp_path / "source", random_weights(head=False)), tmp_path / "out")
    model, info = opened(folder, num_labels=5, output_loading_info=True)
    assert info["missing_keys"] == {"classifier.out_proj.weight", "classifier.out_proj.bias"}
    assert not info["unexpected_keys"]
    assert torch.equal(model.classifier.dense.weight, random_weights()["ernie_m.pooler.dense.weight"])
    assert model.classifier.out_proj.weight.shape == (5, HIDDEN)


@pytest.mark.parametrize("file", FILES)
def test_its_pooler_is_read_back(file: str, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", random_weights(), file=file)
    assert read_pooler(source) is None, "that is no converted folder"
    found = read_pooler(convert_ernie_m(source, tmp_path / "out"))
    assert found is not None
    wanted = random_weights()
    assert found.keys() == {"weight", "bias"}
    assert all(torch.equal(it, wanted[f"ernie_m.pooler.dense.{kind}"]) for kind, it in found.items())


def test_other_folders_have_no_pooler(converted: Path, tmp_path: Path) -> None:
    assert read_pooler(tmp_path / "nowhere") is None
    opened(converted).save_pretrained(tmp_path / "xlm-roberta")  # of the same names, without the tokenizer
    assert read_pooler(tmp_path / "xlm-roberta") is None
    transformers.AutoModel.from_pretrained(converted, add_pooling_layer=False).save_pretrained(tmp_path / "encoder")
    ErnieMTokenizer.from_pretrained(converted).save_pretrained(tmp_path / "encoder")
    assert read_pooler(tmp_path / "encoder") is None


def test_a_damaged_converted_folder_is_named(converted: Path, tmp_path: Path) -> None:
    shutil.copytree(converted, tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").write_bytes(b"half")
    with pytest.raises(DataError, match=r"model.safetensors is no complete safetensors file"):
        read_pooler(tmp_path / "copy")


def test_settings_are_kept(tmp_path: Path) -> None:
    names = {"id2label": {"0": "no", "1": "maybe", "2": "yes"}, "label2id": {"no": 0, "maybe": 1, "yes": 2}}
    source = write_folder(
        tmp_path / "source",
        {name: it.half() for name, it in random_weights().items()},
        hidden_dropout_prob=0.25,
        attention_probs_dropout_prob=0.05,
        dropout=0.3,
        **names,
    )
    model = opened(convert_ernie_m(source, tmp_path / "out"))
    config = model.config
    assert model.dtype == torch.float16
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob, config.classifier_dropout) == (
        0.25,
        0.05,
        0.3,
    )
    assert config.id2label == {0: "no", 1: "maybe", 2: "yes"}
    assert (config.layer_norm_eps, config.max_position_embeddings, config.pad_token_id) == (1e-5, 514, 1)
    assert (config.type_vocab_size, config.hidden_act, config.model_type) == (1, "gelu", "xlm-roberta")


def test_what_the_settings_do_not_say_is_as_in_ernie_m(tmp_path: Path) -> None:
    model = opened(convert_ernie_m(write_folder(tmp_path / "source", random_weights()), tmp_path / "out"))
    assert (model.config.hidden_dropout_prob, model.config.attention_probs_dropout_prob) == (0.1, 0.1)
    assert model.config.num_labels == LABELS  # from the weights
    assert (model.classifier.dropout.p, model.config.hidden_act) == (0.1, "gelu")


def test_its_tokenizer_goes_with_it(converted: Path) -> None:
    source = converted.parent / "source"
    assert is_ernie_m(source)
    assert not is_ernie_m(converted)
    assert has_ernie_m_tokenizer(source)
    assert has_ernie_m_tokenizer(converted)
    text = "hello 中文12 really?"
    assert encode(ErnieMTokenizer.from_pretrained(converted), text) == encode(
        ErnieMTokenizer.from_pretrained(source), text
    )


def test_transformers_does_not_read_texts_with_the_tokenizer_of_xlm_roberta(converted: Path) -> None:
    with pytest.raises(ValueError, match="tokenizer"):
        transformers.AutoTokenizer.from_pretrained(converted)


@pytest.mark.parametrize("missing", ["vocab.txt", "sentencepiece.bpe.model", "pytorch_model.bin", "config.json"])
def test_a_missing_file_leaves_nothing(missing: str, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", random_weights())
    (source / missing).unlink()
    with pytest.raises(ConfigError, match=missing):
        convert_ernie_m(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("room", [30_000, 150_000])  # bytes a file: too few for weights, for SentencePiece's model
def test_a_failure_while_writing_leaves_nothing(room: int, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", random_weights())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(ConfigError, match="cannot be written"):
            convert_ernie_m(source, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="out exists already"):
        convert_ernie_m(write_folder(tmp_path / "source", random_weights()), tmp_path / "out")


def test_another_model_is_refused(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", random_weights(), model_type="xlm-roberta")
    with pytest.raises(ConfigError, match="is no ERNIE-M"):
        open_ernie_m(source)
    assert not is_ernie_m(tmp_path / "nowhere")
    assert not has_ernie_m_tokenizer(tmp_path / "nowhere")


def test_a_checkpoint_of_another_architecture_is_named(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", {"bert.embeddings.word_embeddings.weight": torch.zeros(3, 2)})
    with pytest.raises(ModelError, match=r"pytorch_model.bin is a checkpoint of another architecture"):
        convert_ernie_m(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"act_dropout": 0.1}, ModelError, "act_dropout 0.1"),
        ({"act_dropout": None}, ModelError, "act_dropout None"),
        ({"pad_token_id": 0}, ModelError, "says 0"),
        ({"hidden_size": "16"}, DataError, "hidden_size '16', not a positive integer"),
        ({"num_hidden_layers": 0}, DataError, "num_hidden_layers 0"),
        ({"num_hidden_layers": 2}, ModelError, r"has ernie_m.encoder.layers.2.self_attn"),
        ({"num_attention_heads": 5}, DataError, "hidden_size 16, no multiple of 5 heads"),
        ({"hidden_dropout_prob": "much"}, DataError, "does not describe an ERNIE-M .*hidden_dropout_prob"),
    ],
)
def test_settings_that_xlm_roberta_cannot_have(
    changes: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    source = write_folder(tmp_path / "source", random_weights(), **changes)
    with pytest.raises(error, match=words):
        convert_ernie_m(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["[]", "{", "\N{GREEK SMALL LETTER ALPHA}"])
def test_settings_must_be_an_object(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"config.json"):
        is_ernie_m(tmp_path)


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model_state.pdparams"])
def test_no_code_of_a_pickle_runs(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = write_folder(tmp_path / "source", random_weights())
    (source / "pytorch_model.bin").unlink()
    if file.endswith(".bin"):
        torch.save({"weight": _Runs()}, source / file)
    else:
        (source / file).write_bytes(pickle.dumps({"weight": _Runs()}))
    with pytest.raises(UnsafeFileError, match="mkdir"):
        convert_ernie_m(source, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors", "model_state.pdparams"])
def test_a_damaged_file_is_named(file: str, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", random_weights(), file=file)
    content = (source / file).read_bytes()
    (source / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=file):
        convert_ernie_m(source, tmp_path / "out")


@pytest.mark.parametrize("content", [[1.0], {"weight": [1.0]}])
def test_a_file_without_weights_is_named(content: Any, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", random_weights())
    torch.save(content, source / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"pytorch_model.bin holds"):
        convert_ernie_m(source, tmp_path / "out")


def test_several_files_of_paddle_are_one_too_many(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", random_weights(), file="one.pdparams")
    (source / "two.pdparams").write_bytes((source / "one.pdparams").read_bytes())
    with pytest.raises(ConfigError, match="2 files"):
        convert_ernie_m(source, tmp_path / "out")


def test_opening_converts_once_and_again_when_the_checkpoint_changes(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", random_weights())
    first = open_ernie_m(source)
    written = (first / "model.safetensors").stat().st_mtime_ns
    assert first.parent == tmp_path
    (source / "README.md").write_text("not of the model")
    assert open_ernie_m(source) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == written
    write_folder(source, random_weights(seed=1))
    second = open_ernie_m(source)
    assert second != first
    changed = random_weights(seed=1)["classifier.bias"]
    assert torch.equal(opened(second).classifier.out_proj.bias, changed)
    cached = open_ernie_m(source, cache=tmp_path / "cache" / "models")
    assert (cached.parent, cached.name) == (tmp_path / "cache" / "models", second.name)


def test_several_may_open_at_once(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", random_weights())
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(open_ernie_m, [source] * 4))
    assert len(found) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"source", found.pop().name}


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file"):
        open_ernie_m(write_folder(tmp_path / "source", random_weights()), cache=tmp_path / "file")


def test_paddle_weights_saved_by_torch_are_transposed_too(tmp_path: Path) -> None:
    paddle = write_folder(tmp_path / "source", in_paddle(random_weights()))
    model = opened(convert_ernie_m(paddle, tmp_path / "out"))
    wanted = random_weights()["ernie_m.encoder.layers.1.self_attn.self_attn.k_proj.weight"]
    assert torch.equal(model.roberta.encoder.layer[1].attention.self.key.weight, wanted)

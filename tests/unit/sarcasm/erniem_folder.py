"""Small checkpoints of ERNIE-M with random weights, under the names of transformers and of Paddle, and a tokenizer."""

from __future__ import annotations

import functools
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from safetensors.torch import save_file
from torch import Tensor

from modicum.core.seeding import numpy_generator, torch_generator
from modicum.sarcasm.erniem import ErnieMTokenizer

_TEXT = """
the a cat dog loves hates rain on monday such great wonderful meetings again coffee late train price of bread
hello! what? really, fine: ok. no; ~ 12 345 2024 中文 你好 世界 天气真好。 《书》 【x】
مرحبا رائع جدا يوم جميل الطقس
"""
WORDS = _TEXT.split()
LAYERS, HIDDEN, WIDE, HEADS, LABELS = 3, 16, 24, 4, 3
LINEAR = ("q_proj", "k_proj", "v_proj", "out_proj", "linear1", "linear2", "pooler.dense", "classifier")


@functools.cache
def pieces_model(*, byte_fallback: bool = False) -> bytes:
    """Train SentencePiece on sentences of a few words."""
    generator = numpy_generator(0, "sentences")
    sentences = [" ".join(generator.choice(WORDS, size=size)) for size in generator.integers(3, 12, size=400)]
    sentences += [sentence.replace(" ", "") for sentence in sentences[:60]]
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=written,
        vocab_size=700 if byte_fallback else 300,
        byte_fallback=byte_fallback,
        hard_vocab_limit=False,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
    )
    return written.getvalue()


@functools.cache
def vocabulary() -> tuple[str, ...]:
    processor = sentencepiece.SentencePieceProcessor(model_proto=pieces_model())
    pieces = [processor.IdToPiece(number) for number in range(3, processor.GetPieceSize())]
    return tuple(dict.fromkeys(["[CLS]", "[PAD]", "[SEP]", "[UNK]", *",;:.?!~，。", *pieces, "123", "[MASK]"]))


def write_tokenizer(folder: Path, *, pieces: bytes | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in vocabulary()), encoding="utf-8")
    (folder / "sentencepiece.bpe.model").write_bytes(pieces or pieces_model())
    return folder


def random_weights(*, head: bool = True, seed: int = 0) -> dict[str, Tensor]:
    """Draw weights under the names of transformers."""
    generator = torch_generator(seed, "weights")
    shapes = {
        "embeddings.word_embeddings": (len(vocabulary()), HIDDEN),
        "embeddings.position_embeddings": (514, HIDDEN),
        "embeddings.layer_norm": (HIDDEN,),
    }
    for layer in (f"encoder.layers.{number}." for number in range(LAYERS)):
        shapes |= {f"{layer}self_attn.self_attn.{name}_proj": (HIDDEN, HIDDEN) for name in "qkv"}
        shapes |= {f"{layer}self_attn.out_proj": (HIDDEN, HIDDEN), f"{layer}norm1": (HIDDEN,)}
        shapes |= {f"{layer}linear1": (WIDE, HIDDEN), f"{layer}linear2": (HIDDEN, WIDE), f"{layer}norm2": (HIDDEN,)}
    shapes["pooler.dense"] = (HIDDEN, HIDDEN)
    weights: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        weights[f"ernie_m.{name}.weight"] = torch.randn(shape, generator=generator) / 3 + (len(shape) == 1)
        if not name.endswith("_embeddings"):
            weights[f"ernie_m.{name}.bias"] = torch.randn(shape[:1], generator=generator) / 3
    if head:
        weights["classifier.weight"] = torch.randn(LABELS, HIDDEN, generator=generator) / 10
        weights["classifier.bias"] = torch.randn(LABELS, generator=generator) / 10
    return weights


def in_paddle(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name weights as Paddle does, and lay linear maps out as (inputs, outputs)."""
    return {
        name.replace("self_attn.self_attn.", "self_attn."): (
            tensor.t().contiguous() if name.removesuffix(".weight").endswith(LINEAR) and tensor.ndim == 2 else tensor
        )
        for name, tensor in weights.items()
    }


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "model_type": "ernie_m",
        "vocab_size": len(vocabulary()),
        "hidden_size": HIDDEN,
        "intermediate_size": WIDE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": 514,
        "pad_token_id": 1,
        "act_dropout": 0.0,
        **changes,
    }


def write_folder(folder: Path, weights: dict[str, Tensor], *, file: str = "pytorch_model.bin", **changes: Any) -> Path:
    """Write a whole checkpoint; the kind of file decides the names."""
    write_tokenizer(folder)
    (folder / "config.json").write_text(json.dumps(settings(**changes)))
    if file.endswith(".bin"):
        torch.save(weights, folder / file)
    elif file.endswith(".safetensors"):
        save_file(weights, folder / file)
    else:
        arrays: dict[str, Any] = {name: np.asarray(tensor) for name, tensor in in_paddle(weights).items()}
        names = {name: f"linear_{number}" for number, name in enumerate(arrays)}
        (folder / file).write_bytes(pickle.dumps({**arrays, "StructuredToParameterName@@": names}, protocol=4))
    return folder


def encode(tokenizer: ErnieMTokenizer, *texts: str) -> list[int]:
    """Give the ids of a text, or of a pair of texts."""
    return tokenizer(*([text] for text in texts))["input_ids"][0]


def offsets(tokenizer: ErnieMTokenizer, text: str) -> list[tuple[int, int]]:
    """Give where in a text each of its tokens stands."""
    return tokenizer([text], return_offsets_mapping=True)["offset_mapping"][0]

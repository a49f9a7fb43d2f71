"""The comparison at a tiny size: its arms, the decoders that it is compared with, and its tasks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from modicum.core.method import Job
from modicum.core.seeding import seeded_globally
from modicum.errors import ConfigError, DataError
from modicum.textdiffusion import PRESETS, TextPair, configure, encode_pairs, generate_texts, train, train_tokenizer
from modicum.textdiffusion.comparison import METHOD
from modicum.textdiffusion.controls import Autoregressive, MaskedDiffusion, TokenDecoder
from modicum.textdiffusion.model import Past
from modicum.textdiffusion.tasks import by_source, cmudict, load, split, verbs

TINY = {
    "steps": "6",
    "batch": "4",
    "schedule_every": "2",
    "width": "8",
    "heads": "2",
    "embedding_dim": "4",
    "calls": "1,2",
    "many": "3",
    "candidates": "3",
    "validation": "2",
    "test": "4",
}


def test_each_arm_measures_the_same_things() -> None:
    comparison = METHOD.comparison
    job = Job(seed=1, budget="demo", settings=comparison.settings_for("demo", TINY))
    assert comparison.setup is not None
    prepared = comparison.setup(job)
    assert len(prepared.task.test) == 4
    found = {arm.name: arm.run(job, prepared) for arm in comparison.arms}
    secondary, costs = ({metric.name for metric in each} for each in (comparison.secondary, comparison.costs))
    for measured in found.values():
        assert set(measured.secondary) == secondary
        assert set(measured.costs) == costs
    # Of equal size, and each from the same weights.
    sizes = {name: measured.costs["parameters"] for name, measured in found.items()}
    assert len({size for name, size in sizes.items() if name != "copy the source"}) == 1
    assert found["fixed schedule"].costs["network calls"] in (1, 2)
    assert found["autoregressive"].costs["network calls"] == prepared.config.target_length - 1
    assert found["copy the source"].secondary["wrong"] == 100
    again = comparison.arms[1].run(job, prepared)
    assert again.value == found["SeqDiffuSeq"].value
    assert again.secondary == found["SeqDiffuSeq"].secondary


@pytest.mark.parametrize("option", ["many=5000", "many=0", "calls=0", "calls=2,5000", "calls="])
def test_calls_that_no_schedule_has_are_refused_before_the_work(option: str) -> None:
    name, _, value = option.partition("=")
    with pytest.raises(ConfigError, match=name):
        METHOD.comparison.settings_for("demo", {name: value})


def test_references_of_the_test_do_not_size_the_networks(tmp_path: Path) -> None:
    pairs = [TextPair(source=f"w{number} a", target="b c") for number in range(300)]
    tested = split(pairs, validation=2, test=4).test[0][0]
    long = [dataclasses.replace(pair, target="b " * 20) if pair.source == tested else pair for pair in pairs]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(json.dumps({"src": pair.source, "trg": pair.target}) for pair in long))
    comparison = METHOD.comparison
    job = Job(seed=1, budget="demo", data=file, settings=comparison.settings_for("demo", TINY))
    assert comparison.setup is not None
    prepared = comparison.setup(job)
    assert prepared.config.target_length == 4
    assert comparison.arms[0].run(job, prepared).value > 0


def test_each_arm_keeps_the_rate_of_least_validation_error() -> None:
    comparison = METHOD.comparison
    assert comparison.setup is not None
    values: dict[str, float] = {}
    for rates in ("1e-9", "1e-2", "1e-9,1e-2", "1e-2,1e-9"):
        options = TINY | {"steps": "60", "validation": "20", "test": "20", "rates": rates}
        job = Job(seed=1, budget="demo", settings=comparison.settings_for("demo", options))
        values[rates] = comparison.arms[0].run(job, comparison.setup(job)).value
    assert values["1e-9"] > values["1e-2"] == values["1e-9,1e-2"] == values["1e-2,1e-9"]


def learned(kind: type[TokenDecoder], steps: int) -> tuple[TokenDecoder, Any, list[TextPair]]:
    """Train a decoder to spell a few words backwards."""
    words = ["a b c", "b c a", "c a b", "b a"]
    pairs = [TextPair(source=word, target=" ".join(reversed(word.split()))) for word in words]
    tokenizer = train_tokenizer(words, split="words")
    sizes: dict[str, Any] = {"embedding_dim": 8, "d_model": 16, "attention_heads": 2, "ffn_dim": 32, "init_std": 0.1}
    lengths = {"source_length": 5, "target_length": 6, "encoder_layers": 1, "decoder_layers": 1, "dropout": 0.0}
    config = configure(tokenizer, **sizes, **lengths, attention_dropout=0.0, activation_dropout=0.0)
    with seeded_globally(0, "initialisation"):
        model = kind(config)
    recipe: dict[str, Any] = {"schedule_every": 0, "steps": steps, "batch": 4, "warmup": 10, "rate": 1e-2}
    train(model, encode_pairs(pairs, tokenizer, config), dataclasses.replace(PRESETS["fast"], **recipe))
    return model, tokenizer, pairs


@pytest.mark.parametrize("kind", [Autoregressive, MaskedDiffusion])
def test_the_first_candidate_of_other_decoders_is_greedy(kind: type[TokenDecoder]) -> None:
    model, tokenizer, pairs = learned(kind, 150)
    sources = [pair.source for pair in pairs]
    options: dict[str, Any] = {"selection": "none", "num_inference_steps": 3}
    one = generate_texts(model, tokenizer, sources, num_return_sequences=1, **options)
    if kind is Autoregressive:
        assert one == [[pair.target] for pair in pairs]
    else:  # masked diffusion has learned lengths, and needs longer for the letters
        assert [len(texts[0].split()) for texts in one][:2] == [3, 3]
    three = generate_texts(model, tokenizer, sources, num_return_sequences=3, batch_size=1, seed=5, **options)
    assert [texts[0] for texts in three] == [texts[0] for texts in one]
    fixed = [{2: tokenizer.token_to_id("a")} for _ in sources]
    known = generate_texts(model, tokenizer, sources, num_return_sequences=1, known_tokens=fixed, **options)
    assert all(texts[0].split()[1] == "a" for texts in known)


def test_a_text_from_left_to_right_does_not_see_what_follows() -> None:
    model, tokenizer, _ = learned(Autoregressive, 1)
    memory = model.encode(torch.tensor([[0, 5, 6, 2]]))
    mask = torch.ones(4, 4, dtype=torch.bool).tril()
    one, two = (model.logits(torch.tensor([[0, 5, 6, last]]), memory, mask) for last in (6, 7))
    torch.testing.assert_close(one[:, :3], two[:, :3])
    assert not torch.allclose(one[:, 3], two[:, 3])
    assert tokenizer.get_vocab_size() == one.shape[-1]


def test_keys_that_are_kept_change_no_logit() -> None:
    model, *_ = learned(Autoregressive, 1)
    memory = model.encode(torch.tensor([[0, 5, 6, 2], [0, 7, 2, 1]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]))
    tokens, past = torch.tensor([[0, 5, 6, 6], [0, 7, 5, 2]]), Past()
    whole = model.logits(tokens, memory, torch.ones(4, 4, dtype=torch.bool).tril())
    steps = [model.logits(column, memory, past=past) for column in tokens.split(1, dim=1)]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, rtol=1e-4, atol=1e-5)


def test_verbs_are_those_of_lemminflect() -> None:
    forms = {source.replace(" ", ""): targets for source, targets in by_source(verbs()).items()}
    assert len(forms) > 2000
    assert {len(verb) for verb in forms} == {3, 4, 5}
    expected = {"carry": ["c a r r i e d"], "stop": ["s t o p p e d"], "learn": ["l e a r n e d", "l e a r n t"]}
    assert {verb: forms[verb] for verb in expected} == expected
    assert "go" not in forms
    assert all("'" not in target for targets in forms.values() for target in targets)


@pytest.mark.data("cmudict")
def test_the_full_comparison_learns_pronunciations_of_cmudict() -> None:
    comparison = METHOD.comparison
    job = Job(seed=1, budget="full", settings=comparison.settings_for("full", TINY))
    assert comparison.setup is not None
    prepared = comparison.setup(job)
    assert prepared.config.source_length == prepared.config.target_length == 10
    assert len(prepared.examples) > 60_000
    words = by_source(cmudict())
    assert words["t o m a t o"] == ["T AH M EY T OW", "T AH M AA T OW"]  # no stress, all of its pronunciations
    assert all(3 <= len(word.split()) <= 8 for word in words)
    measured = comparison.arms[1].run(job, prepared)
    assert measured.costs["network calls"] in (1, 2)


@pytest.mark.data("multi30k")
def test_captions_come_in_their_parts() -> None:
    task = load("multi30k", None, validation=10, test=20)
    assert (len(task.training), len(task.validation), len(task.test)) == (29_000, 10, 20)
    assert task.training[0].source.startswith("Zwei junge weiße Männer")
    assert task.training[0].target.startswith("Two young, White males")


def test_a_source_is_on_one_side_whatever_the_seed() -> None:
    task = split(verbs(), validation=1000, test=1000)
    sides = [
        {pair.source for pair in task.training},
        *({source for source, _ in part} for part in (task.validation, task.test)),
    ]
    assert sum(map(len, sides)) == len(set.union(*sides)) == len(by_source(verbs()))
    few = split(verbs(), validation=3, test=5)
    assert (few.training, few.test) == (task.training, task.test[:5])
    with pytest.raises(DataError, match="too few"):
        split(verbs()[:3], validation=1, test=1)

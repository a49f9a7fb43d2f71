"""A prediction depends on its sample and on nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from transformers import AutoModel, BertConfig

from modicum.core.pretrained import open_text_encoder
from modicum.core.seeding import seeded_globally, torch_generator
from modicum.errors import ConfigError, DataError, ModelError
from modicum.fusion.configuration import CubeMLPConfig, Stream
from modicum.fusion.modeling import CubeMLPForPrediction

TEXT = Stream(name="text", size=8, text=True)
AUDIO = Stream(name="audio", size=5, per_word=True)
VIDEO = Stream(name="video", size=4, encoder="conv")
SIZES: dict[str, Any] = {"d_ins": [12, 3, 6], "d_hiddens": [[6, 3, 6], [4, 3, 5]]}


def bert(hidden: int = 8) -> BertConfig:
    return BertConfig(
        vocab_size=40,
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )


def model(streams: tuple[Stream, ...] = (TEXT, AUDIO, VIDEO), **settings: Any) -> CubeMLPForPrediction:
    encoder = bert() if any(stream.text for stream in streams) else None
    with seeded_globally(0, "initialisation"):
        config = CubeMLPConfig(**{**SIZES, "streams": streams, "text_encoder": encoder, **settings})
        built = CubeMLPForPrediction(config).double().eval()
        for name, value in built.named_parameters():
            if name == "absent" or name.endswith("norm.bias"):  # zeros would hide what is wrong
                torch.nn.init.normal_(value)
    return built


class Sample(NamedTuple):
    words: list[int]  # pieces of each word
    audio: int
    video: int


# A text of no pieces is absent; the last one is longer than the cube, and so is a video.
SAMPLES = [
    Sample([1, 2, 1], 3, 7),
    Sample([1], 1, 0),
    Sample([], 4, 2),
    Sample([2, 2, 1, 1], 4, 15),
    Sample([1, 1], 0, 3),
    Sample([1, 3, 2, 1, 1, 3, 1, 2], 8, 9),
]


def batch(places: list[int], *, padding: int = 0, dirt: float = 0.0) -> dict[str, Any]:
    """Collate samples, padded further than needed with what nothing should read."""
    samples = [SAMPLES[place] for place in places]
    features: dict[str, Tensor] = {}
    lengths: dict[str, Tensor] = {}
    for name, size in (("audio", 5), ("video", 4)):
        counts = [getattr(sample, name) for sample in samples]
        values = torch.full((len(samples), max(counts) + padding, size), dirt, dtype=torch.float64)
        for row, (place, count) in enumerate(zip(places, counts, strict=True)):
            generator = torch_generator(place, name)
            values[row, :count] = torch.randn(count, size, generator=generator, dtype=torch.float64)
        features[name], lengths[name] = values, torch.tensor(counts)
    return {"features": features, "lengths": lengths, **_text(places, samples, padding)}


def _text(places: list[int], samples: list[Sample], padding: int) -> dict[str, Tensor]:
    counts = [sum(sample.words) + 2 if sample.words else 0 for sample in samples]
    shape = (len(samples), max(max(counts) + padding, 1))
    ids, mask, words = torch.full(shape, 39), torch.zeros(shape, dtype=torch.long), torch.full(shape, -1)
    for row, (place, sample, count) in enumerate(zip(places, samples, counts, strict=True)):
        mask[row, :count] = 1
        ids[row, :count] = torch.randint(1, 39, (count,), generator=torch_generator(place, "ids"))
        pieces = [word for word, number in enumerate(sample.words) for _ in range(number)]
        words[row, 1 : 1 + len(pieces)] = torch.tensor(pieces, dtype=torch.long)
    return {"input_ids": ids, "attention_mask": mask, "word_ids": words}


def logits(network: CubeMLPForPrediction, inputs: dict[str, Any]) -> Tensor:
    with torch.no_grad():
        return network(**inputs).logits


INVARIANT: list[dict[str, Any]] = [
    {},
    {"overflow": "pool", "norm": "post"},
    {"frozen_layers": 1, "norm": "branch"},
]


@pytest.mark.parametrize("settings", INVARIANT, ids=str)
def test_a_prediction_does_not_depend_on_its_batch(settings: dict[str, Any]) -> None:  # CUBEMLP-C6
    network = model(**settings)
    together = logits(network, batch(list(range(6))))
    others = logits(network, batch([5, 3, 3, 0, 2, 4, 1], padding=4, dirt=torch.nan))
    assert torch.allclose(others[[3, 6, 4, 1, 5, 0]], together, rtol=0, atol=1e-10)
    for place in range(6):
        assert torch.allclose(logits(network, batch([place]))[0], together[place], rtol=0, atol=1e-10)
    assert len(together.unique()) == 6


@pytest.mark.parametrize("encoder", ["gru", "lstm", "conv", "linear"])
def test_nor_does_it_without_text(encoder: Any) -> None:  # CUBEMLP-C6
    streams = tuple(Stream(name=name, size=size, encoder=encoder) for name, size in (("audio", 5), ("video", 4)))
    network = model(streams, d_ins=[12, 2, 6], d_hiddens=[[6, 2, 6]])
    only = lambda inputs: {"features": inputs["features"], "lengths": inputs["lengths"]}
    together = logits(network, only(batch([0, 1, 2, 3])))
    for place in range(4):
        alone = logits(network, only(batch([place], padding=3, dirt=torch.inf)))
        assert torch.allclose(alone[0], together[place], rtol=0, atol=1e-10)


WORST = [torch.nan, -torch.inf, 1e300]


@pytest.mark.parametrize("name", ["audio", "video"])
@pytest.mark.parametrize("how", ["present", "lengths"])
def test_what_an_absent_stream_contains_changes_nothing(name: str, how: str) -> None:  # CUBEMLP-C7
    network, clean = model(), batch([0, 3, 5])
    lacking = {**clean, "features": {key: value for key, value in clean["features"].items() if key != name}}
    lacking["lengths"] = {key: value for key, value in clean["lengths"].items() if key != name}
    wanted = logits(network, lacking)
    for worst in WORST:
        inputs = batch([0, 3, 5])
        inputs["features"][name].fill_(worst)
        if how == "lengths":
            inputs["lengths"][name].zero_()
        else:
            inputs["present"] = torch.tensor([[stream.name != name for stream in network.config.modalities]] * 3)
        found = network(**inputs)
        assert torch.allclose(found.logits, wanted, rtol=0, atol=1e-12)
        found.logits.sum().backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in network.parameters())
    assert (wanted - logits(network, clean)).abs().min() > 1e-6


def test_what_an_absent_text_contains_changes_nothing() -> None:  # CUBEMLP-C7
    network = model(frozen_layers=1)
    inputs = batch([0, 3, 5])
    wanted = logits(network, {"features": inputs["features"], "lengths": inputs["lengths"]})
    present = torch.tensor([[False, True, True]] * 3)
    assert torch.allclose(logits(network, {**inputs, "present": present}), wanted, rtol=0, atol=1e-12)
    shape = inputs.pop("input_ids").shape
    states = torch.full((*shape, 8), torch.nan, dtype=torch.float64)
    inputs["word_ids"] = torch.zeros(shape, dtype=torch.long)
    found = logits(network, {**inputs, "text_states": states, "present": present})
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12)


def test_a_token_is_learned_for_what_is_absent_and_read_for_nothing_else() -> None:
    network: Any = model()
    network(**batch([0, 3, 5])).logits.sum().backward()
    assert not network.absent.grad.any()
    network(**batch([0, 1, 4])).logits.sum().backward()
    assert network.absent.grad.any(1).tolist() == [False, True, True]


def test_kept_states_give_the_same_prediction() -> None:
    network, inputs = model(frozen_layers=1), batch([0, 1, 3])
    wanted = logits(network, inputs)
    states = network.text.text_states(inputs.pop("input_ids"), inputs["attention_mask"])
    states[inputs["attention_mask"] == 0] = torch.nan
    assert torch.allclose(logits(network, {**inputs, "text_states": states}), wanted, rtol=0, atol=1e-12)


def test_a_stream_is_taken_away_in_training_but_never_the_last() -> None:
    network, both, one = model(modality_dropout=0.5), batch([0, 3, 5]), batch([2])
    one = {"features": {"video": one["features"]["video"]}, "lengths": {"video": one["lengths"]["video"]}}
    for part in network.modules():
        part.training = part is network  # no dropout but that of modalities
    subsets = torch.tensor([[True, True, True], [False, True, True], [True, False, True], [True, True, False]])
    wanted = torch.stack([logits(network.eval(), {**both, "present": row.expand(3, 3)}) for row in subsets])
    network.training = True
    with seeded_globally(1, "dropout"):
        found = torch.stack([logits(network, both) for _ in range(60)])
    nearest = (found[:, None] - wanted).abs()[..., 0].min(1)
    assert nearest.values.max() < 1e-12
    counts = nearest.indices.flatten().bincount(minlength=4)
    assert (counts > 15).all()
    assert 60 < counts[0] < 120  # of 180, a half of which keep all
    wanted = logits(network.eval(), one)
    network.training = True
    assert all(torch.equal(logits(network, one), wanted) for _ in range(30))


def test_sizes_are_those_of_the_published_recipe() -> None:  # CUBEMLP-C3
    streams = [Stream(name="text", size=768, text=True), Stream(name="audio", size=74), Stream(name="video", size=47)]
    config = CubeMLPConfig(streams=streams, text_encoder=bert(768))
    count = lambda network: sum(
        value.numel() for name, value in network.named_parameters() if not name.startswith("text.")
    )
    assert count(CubeMLPForPrediction(config)) == 1_057_715 + 3 * 128  # a token for each absent modality
    assert sum(value.numel() for value in CubeMLPForPrediction(config).head.parameters()) == 97


def test_weights_are_drawn_as_the_released_code_draws_them() -> None:
    network: Any = model(d_ins=[64, 3, 6])
    for name, weight in network.named_parameters():
        if "weight_hh" in name:
            assert torch.allclose(weight.T @ weight, torch.eye(6, dtype=weight.dtype), rtol=0, atol=1e-6)
    first = network.cube.blocks[0].time.fc1
    assert 0.9 / 8 < first.weight.abs().max() <= 1 / 8  # uniform within 1 / sqrt(64), torch's default
    assert first.bias.any()


def test_a_saved_model_is_the_same_when_it_comes_back(tmp_path: Path) -> None:
    network = model(overflow="pool", outputs=2, frozen_layers=1).float()
    network.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    back = CubeMLPForPrediction.from_pretrained(tmp_path)
    assert back.config.modalities == network.config.modalities
    assert not back.training
    assert back.state_dict().keys() == network.state_dict().keys()
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in back.state_dict().items())
    assert {name for name, value in back.named_parameters() if value.requires_grad} == {
        name for name, value in network.named_parameters() if value.requires_grad
    }
    inputs = batch([0, 1, 3, 5])
    inputs["features"] = {name: values.float() for name, values in inputs["features"].items()}
    assert torch.equal(logits(back, inputs), logits(network, inputs))


def test_a_pre_trained_text_encoder_keeps_its_weights(tmp_path: Path) -> None:
    with seeded_globally(3, "initialisation"):
        encoder = AutoModel.from_config(bert())
    encoder.save_pretrained(tmp_path)
    config = CubeMLPConfig(streams=(TEXT, AUDIO, VIDEO), text_encoder=bert(), **SIZES)
    network = CubeMLPForPrediction(config, open_text_encoder(str(tmp_path), extra="fusion"))
    for name, value in network.text.encoder.state_dict().items():
        assert torch.equal(value, encoder.state_dict()[name])


def test_the_head_reads_the_mean_over_time_of_all_modalities() -> None:
    network, inputs = model(), batch([0])
    cube: list[Tensor] = []
    network.cube.register_forward_hook(lambda *seen: cube.append(seen[2]))
    hidden = network(**inputs).hidden
    assert cube[0].shape == (1, 4, 3, 5)  # time, modality, channel
    assert torch.allclose(hidden.reshape(3, 5), cube[0][0].mean(0))


def test_a_wide_head_has_a_hidden_layer() -> None:
    assert isinstance(model(head_size=15).head, torch.nn.Linear)
    assert [type(part).__name__ for part in model(head_size=14).head.children()] == [
        "Linear",
        "ReLU",
        "Dropout",
        "Linear",
    ]


def test_every_trained_weight_gets_a_gradient_from_the_loss() -> None:
    network = model(loss="cross_entropy", outputs=3).train()
    output = network(**batch([0, 1, 2, 3]), labels=torch.tensor([0, 1, 2, 0]))
    output.loss.backward()
    assert output.logits.shape == (4, 3)
    assert all(value.grad is not None and value.grad.isfinite().all() for value in network.parameters())


def changed(**parts: Any) -> dict[str, Any]:
    return {**batch([0, 3]), **parts}


@pytest.mark.parametrize(
    ("inputs", "kind", "message"),
    [
        (changed(features={"gaze": torch.zeros(2, 3, 4)}, lengths={}), ConfigError, "no stream of features 'gaze'"),
        (changed(features={}), ConfigError, "'audio' has lengths and no features"),
        (changed(text_states=torch.zeros(2, 9, 8)), ConfigError, "input_ids and text_states"),
        (changed(input_ids=None), ConfigError, "a mask or word_ids, but no text"),
        (changed(word_ids=None), DataError, "'audio' belong to words, but there are no word_ids"),
        (changed(word_ids=torch.zeros(2, 3)), DataError, r"mask \(2, 8\) and its word_ids \(2, 3\)"),
        (changed(attention_mask=torch.ones(2, 9)), DataError, r"shape \(2, 8\), but its mask \(2, 9\)"),
        (changed(attention_mask=torch.arange(16).reshape(2, 8) % 2), DataError, "padding before its last token"),
        (changed(present=torch.ones(2, 2)), DataError, r"shape \(2, 2\) for 2 samples of 3 streams"),
        (changed(present=torch.tensor([[1, 0, 0], [0, 0, 0]])), DataError, "Sample 1 of the batch has no stream"),
        (changed(lengths={"video": torch.tensor([1, 16])}), DataError, "Sample 1 of the batch has 16 frames of stream"),
        (changed(lengths={"video": torch.tensor([-1, 1])}), DataError, "has -1 frames of stream 2.* room for 15"),
        ({"features": {"video": torch.zeros(2, 3, 5)}}, DataError, r"\(batch, frames, 4\).*got \(2, 3, 5\)"),
        ({"features": {"video": torch.zeros(2, 0, 4)}}, DataError, "Sample 0 of the batch has no stream"),
        (
            {"features": {"video": torch.zeros(2, 3, 4), "audio": torch.zeros(3, 3, 5)}},
            DataError,
            "different sizes: video 2, audio 3",
        ),
        ({}, DataError, "different sizes: none at all"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        model()(**inputs)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"streams": ()}, ConfigError, "no streams"),
        ({"text_encoder": None}, ConfigError, "1 streams of text, and no text encoder"),
        ({"streams": (VIDEO, AUDIO), "d_ins": [12, 2, 6]}, ConfigError, "0 streams of text, and a text encoder"),
        ({"text_encoder": bert(6)}, ModelError, "'text' has 8 values a frame, but its encoder gives 6"),
        ({"compat": "official"}, ConfigError, "compat is 'official', but this modicum knows None alone"),
        ({"compose_time": "cat"}, ConfigError, "compose_time is 'cat', but this modicum knows 'mean' alone"),
        ({"ln_over": "valid"}, ConfigError, "ln_over is 'valid', but"),
        ({"placement": "first"}, ConfigError, "placement is 'first', but"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(
    settings: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        CubeMLPForPrediction(
            CubeMLPConfig(**{**SIZES, "streams": (TEXT, AUDIO, VIDEO), "text_encoder": bert(), **settings})
        )


def test_text_is_refused_by_a_model_without_it() -> None:
    network = model((VIDEO, AUDIO), d_ins=[12, 2, 6], d_hiddens=[[6, 2, 6]])
    with pytest.raises(ConfigError, match="no stream of the model is text"):
        network(**batch([0]))
    with pytest.raises(ModelError, match="has no word embeddings"):
        network.get_input_embeddings()
    assert model().get_input_embeddings().weight.shape == (40, 8)  # type: ignore[union-attr]

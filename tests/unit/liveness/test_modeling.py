"""The model: its losses, exact scoring against sampling, order, and what scoring leaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modicum.core.seeding import seeded_globally, torch_generator
from modicum.errors import ConfigError, DataError
from modicum.liveness import FGHVConfig, FGHVForLiveness
from modicum.liveness import functional as F  # noqa: N812
from modicum.liveness.backbones import DepthNet, hsv
from modicum.liveness.fit import calibration_rows, features_of, fit


def rows(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw two classes that differ in two of eight numbers."""
    generator = torch_generator(seed, "rows")
    labels = torch.arange(count) % 2
    inputs = torch.randn(count, 8, generator=generator)
    inputs[:, 0] += 4 * labels
    inputs[:, 1] += 4 * (1 - labels)
    return inputs, labels


def small(preset: Any = "modicum", **options: Any) -> FGHVForLiveness:
    with seeded_globally(0, "initialisation"):
        config = FGHVConfig(preset, backbone="vector", input_size=8, bank_size=300, **{"hypotheses": 96, **options})
        model = FGHVForLiveness(config).eval()
    model.refresh()
    return model


@pytest.fixture(scope="module")
def fitted() -> FGHVForLiveness:
    inputs, labels = rows(400)
    return fit(small().config, inputs, labels, steps=60)


def test_the_loss_is_the_weighted_sum_of_the_constraints_and_each_can_be_switched_off() -> None:
    inputs, labels = rows(20)
    cases: tuple[dict[str, float], ...] = ({}, {"w_var": 0.0}, {"w_ddc": 0.0}, {"w_rcc": 0.0}, {"w_div": 0.0})
    for weights in cases:
        model = small("modicum", **weights)
        output = model(inputs, labels, generator=torch_generator(0, "latents"))
        assert output.losses is not None
        config = model.config
        wanted = sum(getattr(config, f"w_{name}") * value for name, value in output.losses.items())
        torch.testing.assert_close(output.loss, wanted)
        assert ("div" in output.losses) == bool(config.w_div)


def test_training_separates_the_classes_and_keeps_hypotheses_apart(fitted: FGHVForLiveness) -> None:
    inputs, labels = rows(200, seed=1)
    verified = fitted.verify(inputs)
    assert float(verified.score[labels == 1].min()) > float(verified.score[labels == 0].max())
    assert fitted.spread > 0.05
    assert torch.equal(verified.box, torch.minimum(verified.sides["score"], verified.sides["variance"]))
    genuine = verified.sides["variance"][labels == 1]
    assert abs(float(genuine.median())) < 0.3, "a genuine face is in the middle of those that calibrated"


def test_the_paper_preset_warns_that_it_collapses_and_does() -> None:
    inputs, labels = rows(400)
    with pytest.warns(UserWarning, match="collapse"):
        model = fit(small("paper").config, inputs, labels, steps=200, rate=3e-3)
    assert model.spread < 0.05


def test_closed_form_scores_are_those_of_a_sample_of_the_entire_bank() -> None:
    # FGHV-C1
    model, inputs = small(), rows(10)[0]
    exact, sampled = model.verify(inputs), model.verify(inputs, mode="sampled", samples=300)
    torch.testing.assert_close(exact.score, sampled.score, rtol=0, atol=1e-5)
    torch.testing.assert_close(exact.variance, sampled.variance, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(model(inputs).scores, exact.score, rtol=0, atol=1e-5)


def test_neither_the_batch_nor_its_order_changes_a_score(fitted: FGHVForLiveness) -> None:
    # FGHV-C6
    inputs = rows(12)[0]
    together = fitted.verify(inputs)
    for name in ("score", "variance", "delta_kl", "box"):
        values = getattr(together, name)
        alone = torch.cat([getattr(fitted.verify(row[None]), name) for row in inputs])
        torch.testing.assert_close(alone, values, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(getattr(fitted.verify(inputs.flip(0)), name).flip(0), values, rtol=1e-4, atol=1e-5)


def test_the_order_of_the_latents_changes_neither_a_loss_nor_a_score() -> None:
    # FGHV-C6
    inputs = rows(6)[0]
    model = small()
    before = model.verify(inputs)
    model.bank.copy_(model.bank.flip(0))
    model.refresh()
    after = model.verify(inputs)
    torch.testing.assert_close(after.score, before.score, rtol=0, atol=1e-6)
    torch.testing.assert_close(after.variance, before.variance, rtol=1e-4, atol=1e-7)
    real, attack = model.hypotheses(model.bank)
    other = torch.randperm(len(real), generator=torch_generator(0, "order"))
    features = model.embed(inputs)
    for loss in (
        lambda real, attack: F.variance_constraint(features @ real.T),
        F.discrimination_constraint,
        lambda real, attack: F.diversity(real) + F.diversity(attack),
    ):
        torch.testing.assert_close(loss(real[other], attack[other.flip(0)]), loss(real, attack))


@pytest.mark.parametrize("preset", ["modicum", "paper"])
def test_latents_move_and_scoring_changes_no_parameter(preset: str) -> None:
    # FGHV-C13
    model = small(preset)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    verified = model.verify(rows(6)[0])
    assert (verified.delta_kl != 0).all()
    assert verified.delta_kl.unique().numel() == 6
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_saved_model_scores_as_before(fitted: FGHVForLiveness, tmp_path: Path) -> None:
    fitted.save_pretrained(tmp_path)
    again = FGHVForLiveness.from_pretrained(tmp_path)
    inputs = rows(6)[0]
    assert torch.equal(again.verify(inputs).box, fitted.verify(inputs).box)
    assert again.config.box == ["score", "variance"]


def test_depthnet_has_the_parameters_of_the_released_sibling() -> None:
    # FGHV-C7
    network = DepthNet()
    parts = [*network.first.parameters(), *network.down.parameters()]
    assert sum(part.numel() for part in parts) == 1_731_108
    assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 512)


def test_hsv_is_that_of_the_standard_library() -> None:
    import colorsys

    pixels = torch.rand(1, 3, 4, 4, generator=torch_generator(0, "pixels"))
    pixels[0, :, 0, 0] = 0.5
    wanted = [colorsys.rgb_to_hsv(*pixel) for pixel in pixels[0].flatten(1).T.tolist()]
    torch.testing.assert_close(hsv(pixels)[0].flatten(1).T, torch.tensor(wanted), rtol=0, atol=1e-6)


def test_a_frozen_backbone_gives_training_the_features_that_it_scores() -> None:
    # Batch norms of a new network are in training mode, and would give the features of their batch.
    network = FGHVForLiveness(FGHVConfig(backbone="depthnet", image_size=32, bank_size=64))
    images = torch.randint(256, (60, 32, 32, 3), generator=torch_generator(0, "images"), dtype=torch.uint8)
    assert network.backbone is not None
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    fit(network, images, torch.arange(60) % 2, steps=2, batch=8)
    assert all(torch.equal(value, before[name]) for name, value in network.backbone.state_dict().items())
    learnt = torch.as_tensor(calibration_rows(torch.arange(60) % 2, None, 0)[0])
    torch.testing.assert_close(network.input_mean, features_of(network, images)[learnt].mean(0))


def test_a_backbone_with_random_weights_is_not_frozen() -> None:
    images, config = torch.zeros(60, 32, 32, 3, dtype=torch.uint8), FGHVConfig(backbone="depthnet", image_size=32)
    with pytest.raises(ConfigError, match="depthnet of a configuration has random weights"):
        fit(config, images, torch.arange(60) % 2)


def test_a_vision_model_of_transformers_is_a_backbone_frozen_or_trained(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    network = ViTModel(ViTConfig(image_size=16, patch_size=8, **sizes))
    network.save_pretrained(tmp_path)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    images = torch.randint(256, (60, 16, 16, 3), generator=torch_generator(0, "images"), dtype=torch.uint8)
    labels = torch.arange(60) % 2
    for train in (False, True):
        model = FGHVForLiveness.from_backbone(str(tmp_path), train_backbone=train, hypotheses=96, bank_size=64)
        backbone: Any = model.backbone
        before = backbone.network.embeddings.cls_token.clone()
        fit(model, images, labels, steps=2, batch=8)
        assert torch.equal(backbone.network.embeddings.cls_token, before) is not train
        assert model.verify(images[:3]).box.shape == (3,)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"preset": "papers"}, "preset is 'papers'"),
        ({"backbone": "vector"}, "gives 0 numbers"),
        ({"rcc": "pairwise"}, "rcc is 'pairwise'"),
        ({"box": ["margin"]}, "box is 'margin'"),
        ({"hypotheses": 1}, "hypotheses must be at least 2"),
        ({"w_var": -1.0}, "w_var must be at least 0"),
        ({"kl_step": 0.0}, "kl_step must be"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        FGHVConfig(**options)


def test_a_class_that_is_missing_is_named() -> None:
    with pytest.raises(DataError, match="0 attacks were given"):
        fit(small().config, torch.zeros(30, 8), torch.ones(30, dtype=torch.long))

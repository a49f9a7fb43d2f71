"""The model: a feature, two generators of hypotheses on one latent, three constraints, and two verifications."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from modicum.core.extras import require
from modicum.core.pretrained import open_part
from modicum.core.seeding import torch_generator
from modicum.liveness import functional as F  # noqa: N812
from modicum.liveness.backbones import Pooled, build_backbone
from modicum.liveness.configuration import FGHVConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.utils.generic import ModelOutput
else:
    _transformers = require("transformers", extra="liveness", purpose="FGHV")
    PreTrainedModel, ModelOutput = _transformers.PreTrainedModel, _transformers.utils.generic.ModelOutput

SIDES = ("score", "variance", "delta_kl")


@dataclass
class FGHVOutput(ModelOutput):
    """What the model gives for a batch."""

    loss: Tensor | None = None  # a scalar; None without labels
    scores: Tensor = None  # type: ignore[assignment] - ModelOutput allows one field without a default
    features: Tensor = None  # type: ignore[assignment]
    losses: dict[str, Tensor] | None = None  # the constraints by name, unweighted


@dataclass(frozen=True)
class Verification:
    """What the hypotheses say of some faces, a number a face each; for all but the two in the middle more is better."""

    score: Tensor  # s, the relative correlation
    variance: Tensor  # V, of the correlations with real hypotheses
    delta_kl: Tensor  # how far the latents move to explain the face
    box: Tensor  # the least of the calibrated sides that the rule looks at
    sides: dict[str, Tensor]  # calibrated: 0 is the median genuine face of the source and -1 its 5 % quantile


class FGHVForLiveness(PreTrainedModel):
    """Feature generation and hypothesis verification on top of a backbone.

    There is no released code and the paper's text was not at hand: this is a reconstruction from its figures, in which
    open choices are arguments of `FGHVConfig`, with additions of ours (``preset="modicum"``).

    Args:
        config: of the network.

    Example:
        >>> model = FGHVForLiveness(FGHVConfig(backbone="vector", input_size=8, bank_size=64))
        >>> model(torch.randn(4, 8)).scores.shape
        torch.Size([4])

    Source:
        Liu et al. 2022 (arXiv:2112.14894), the figures. Departures: scoring over the entire bank of latents in closed
        form instead of a sample; VAR has no gradient for the feature.
    """

    config_class = FGHVConfig
    base_model_prefix = ""
    main_input_name = "inputs"

    config: FGHVConfig
    # Buffers; those from real_mean on are written by `refresh` and `calibrate_sides`.
    bank: Tensor
    information: Tensor
    input_mean: Tensor
    input_std: Tensor
    real_mean: Tensor
    attack_mean: Tensor
    covariance: Tensor
    factor: Tensor
    medians: Tensor
    lows: Tensor
    source_variance: Tensor

    def __init__(self, config: FGHVConfig) -> None:
        super().__init__(config)
        size = config.embedding_size + (config.information_size if config.information_weight else 0)
        self.backbone = build_backbone(config)
        self.encoder = _two_layers(config.input_size, config.hidden_size, config.embedding_size)
        self.real_generator = _two_layers(config.latent_size, config.generator_size, size)
        self.attack_generator = _two_layers(config.latent_size, config.generator_size, size)
        # Saved with the weights: scores may not depend on a version of a random generator.
        generator = torch_generator(0, "fghv latents v1")
        square = torch.randn(config.input_size, config.input_size, generator=generator)
        self.register_buffer("information", torch.linalg.qr(square).Q[: config.information_size].contiguous())
        self.register_buffer("bank", torch.randn(config.bank_size, config.latent_size, generator=generator))
        for name, shape in {
            "input_mean": (config.input_size,), "real_mean": (size,), "attack_mean": (size,),
                "covariance": (size, size), "factor": (size, size), "medians": (3,), "source_variance": (),
        }.items():  # fmt: skip
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("input_std", torch.ones(config.input_size))
        self.register_buffer("lows", -torch.ones(3))
        self.post_init()

    @classmethod
    def from_backbone(cls, name: str, *, train_backbone: bool = False, **options: Any) -> FGHVForLiveness:
        """Put a new head on a pre-trained vision model of transformers.

        Args:
            name: hub id or folder.
            train_backbone: train it too.
            **options: of `FGHVConfig`.

        Returns:
            The model; its crops have the size, mean and std of the backbone's image processor.
        """
        network = open_part("AutoModel", name, extra="liveness", dtype="float32")
        processor = open_part("AutoImageProcessor", name, extra="liveness")
        size = dict(processor.size)
        config = FGHVConfig(
            backbone="transformers",
            backbone_config=network.config,
            train_backbone=train_backbone,
            image_size=size.get("height") or size.get("shortest_edge"),
            image_mean=list(processor.image_mean),
            image_std=list(processor.image_std),
            **options,
        )
        model = cls(config)
        model.backbone = Pooled(network)
        return model

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            module.reset_parameters()

    def extract(self, images: Tensor) -> Tensor:
        """Run the backbone.

        Args:
            images: uint8 crops, shape (n, size, size, 3), RGB.

        Returns:
            Its features, shape (n, input_size); with a gradient where the backbone is trained.
        """
        assert self.backbone is not None  # noqa: S101 - "vector" has inputs that are features already
        pixels = images.permute(0, 3, 1, 2).to(self.device, torch.float32) / 255
        mean, std = (
            torch.tensor(part, device=self.device)[:, None, None]
            for part in (self.config.image_mean, self.config.image_std)
        )
        with torch.set_grad_enabled(self.config.train_backbone and torch.is_grad_enabled()):
            return self.backbone((pixels - mean) / std).to(self.device)

    def embed(self, inputs: Tensor) -> Tensor:
        """Give the feature that hypotheses are correlated with.

        Args:
            inputs: features of the backbone, shape (n, input_size), or uint8 crops as `extract` takes them.

        Returns:
            Rows of length 1: what the encoder makes of them, and with E1 a random rotation of them as they are.
        """
        inputs = self.extract(inputs) if inputs.ndim == 4 else inputs
        scaled = (inputs - self.input_mean) / self.input_std
        parts = [normalize(self.encoder(scaled))]
        if self.config.information_weight:
            parts.append(self.config.information_weight * normalize(scaled @ self.information.T))
        return normalize(torch.cat(parts, dim=1))

    def hypotheses(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Generate a real-face and a known-attack hypothesis from each latent.

        Args:
            latents: shape (K, latent_size).

        Returns:
            Two sets of rows of length 1.
        """
        return normalize(self.real_generator(latents)), normalize(self.attack_generator(latents))

    def forward(
        self, inputs: Tensor, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> FGHVOutput:
        """Score inputs by hypotheses: those of the bank, or with labels those of new latents, and give the loss.

        Args:
            inputs: as `embed` takes them.
            labels: 1 for genuine faces and 0 for attacks, shape (n,), some of both.
            generator: of the latents that training draws.

        Returns:
            ``scores`` s, ``features``, and with labels ``loss`` and the ``losses`` it is the weighted sum of.
        """
        config, features = self.config, self.embed(inputs)
        if labels is None:
            real, attack = self.hypotheses(self.bank)
            return FGHVOutput(scores=features @ (real.mean(0) - attack.mean(0)), features=features)
        latents = torch.randn(config.hypotheses, config.latent_size, generator=generator).to(features)
        real, attack = self.hypotheses(latents)
        scores = features @ (real.mean(0) - attack.mean(0))
        losses = {
            "rcc": F.relative_correlation_constraint(scores, labels, config.rcc),
            "var": F.variance_constraint(features.detach()[labels == 1] @ real.T),
            "ddc": F.discrimination_constraint(real, attack),
        }
        if config.w_div:
            losses["div"] = -(F.diversity(real) + F.diversity(attack))
        loss = torch.stack([getattr(config, f"w_{name}") * value for name, value in losses.items()]).sum()
        return FGHVOutput(loss=loss, scores=scores, features=features, losses=losses)

    @torch.no_grad()
    def refresh(self) -> None:
        """Reduce the bank's hypotheses to the moments that scoring uses; after training."""
        real, attack = (part.double() for part in self.hypotheses(self.bank))
        self.real_mean.copy_(real.mean(0))
        self.attack_mean.copy_(attack.mean(0))
        self.set_covariance(torch.cov(real.T))

    @torch.no_grad()
    def set_covariance(self, covariance: Tensor) -> None:
        """Let real hypotheses vary so."""
        self.covariance.copy_(covariance)
        self.factor.copy_(F.square_root(covariance.double()))

    @property
    def spread(self) -> float:
        """How far the real hypotheses are from one ray: from 0, collapsed, to 1."""
        return 1 - float(self.real_mean.square().sum())

    @torch.no_grad()
    def verify(self, inputs: Tensor, mode: Literal["closed", "sampled"] = "closed", samples: int = 20) -> Verification:
        """Verify faces against the hypotheses; no image changes the result of another.

        Args:
            inputs: as `embed` takes them.
            mode: "closed" is exact over the bank; "sampled" takes the first ``samples`` latents, as the figure does.
            samples: hypotheses of the sampled mode.

        Returns:
            s, V, the change of KL, and the score of the rule.
        """
        features = self.embed(inputs)
        if mode == "closed":
            score, variance = F.closed_form(features, self.real_mean - self.attack_mean, self.factor)
        else:
            real, attack = (features @ part.T for part in self.hypotheses(self.bank[:samples]))
            score, variance = F.relative_correlation(real, attack), real.var(1)
        delta_kl = self._delta_kl(features)
        raw = zip(SIDES, self._raw(score, variance, delta_kl), self.medians, self.lows, strict=True)
        sides = {name: F.calibrated_z(value, median, low) for name, value, median, low in raw}
        box = torch.stack([sides[name] for name in self.config.box]).amin(0)  # so that a threshold is one for all
        return Verification(score, variance, delta_kl, box, sides)

    def _raw(self, score: Tensor, *spreads: Tensor) -> list[Tensor]:
        """Turn the sides so that more is better."""
        return [score, *(-part.clamp(min=1e-12).log() if self.config.log_scale else -part for part in spreads)]

    @torch.no_grad()
    def calibrate_sides(self, verified: Verification) -> None:
        """Take genuine faces that nothing was fitted to as the measure of all sides."""
        self.source_variance.copy_(verified.variance.mean())
        self.measure_by(verified.score, verified.variance, verified.delta_kl)

    @torch.no_grad()
    def measure_by(self, *values: Tensor) -> None:
        """Take genuine faces as the measure of the first sides."""
        for side, raw in enumerate(self._raw(*values)):
            self.medians[side], self.lows[side] = raw.median(), raw.quantile(0.05)

    def _delta_kl(self, features: Tensor) -> Tensor:
        config, matched = self.config, self.config.kl_through == "real"
        latents = self.bank[: config.kl_latents]
        latents = F.moment_matched(latents) if matched else latents
        before = 0.0 if matched else F.moment_kl(latents)
        real = _projected(self.real_generator, features)
        attack = None if matched else _projected(self.attack_generator, features)
        moved = latents.expand(len(features), -1, -1)
        for _ in range(config.kl_steps):
            step = F.correlation_gradient(moved, real)[1]
            if attack is not None:
                step = step - F.correlation_gradient(moved, attack)[1]
            moved = moved + config.kl_step * step
        return F.moment_kl(moved) - before


def _two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def _projected(generator: Any, features: Tensor) -> F.Projected:
    first, _, second = generator
    return F.project(first.weight, first.bias, second.weight, second.bias, features)

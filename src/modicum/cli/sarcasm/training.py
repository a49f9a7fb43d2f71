"""``modicum sarcasm train``: from labelled texts to a folder that reads others."""

from __future__ import annotations

import json as json_format
import math
from collections import Counter
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modicum.cli.console import Json, say, stoppable
from modicum.cli.sarcasm.columns import (
    DialectColumn,
    LabelColumn,
    LanguageOption,
    RephraseColumn,
    SkipEmpty,
    TextColumn,
    read_labelled,
    read_table,
)
from modicum.core.devices import check_device
from modicum.core.files import check_target
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.sarcasm.examples import Example, Language
    from modicum.sarcasm.fitting import Fitted


class PresetName(StrEnum):
    """The presets, as typer wants them."""

    modicum = "modicum"
    plain = "plain"


class RuleName(StrEnum):
    """The rules of labels, as typer wants them."""

    oof_f1 = "oof_f1"
    half = "half"
    top_share = "top_share"
    prior_shift = "prior_shift"


def train(  # noqa: PLR0913 - one argument an option
    sources: Annotated[
        list[str], typer.Argument(help="CSV, TSV or JSONL files with text and sarcastic, or a folder as iSarcasmEval.")
    ],
    *,
    folder: Annotated[Path, typer.Option("--out", help="New folder of the system.")],
    model: Annotated[
        str, typer.Option(help="ngrams, an encoder to fine-tune (hub id, folder, offline), or both: ngrams+ENCODER.")
    ] = "ngrams",
    preset: Annotated[
        PresetName,
        typer.Option(
            help="plain where the texts to be read are collected as the training texts are: it ranks and calibrates "
            "better there. modicum, which takes away shortcuts such as lengths, where they are not, or audit shows any."
        ),
    ] = PresetName.modicum,
    rule: Annotated[RuleName, typer.Option(help="How labels are decided; see the docs.")] = RuleName.oof_f1,
    folds: Annotated[int, typer.Option(help="Models of the ensemble; 1 trains one and holds a fifth out.")] = 5,
    external: Annotated[
        list[str] | None,
        typer.Option(help="Further labelled files, or arsarcasm-v2; what overlaps with the others is left out."),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option("--set", help="Of an encoder: epochs=5, batch=32, rate=2e-5 or pooling=mean; may be repeated."),
    ] = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    rephrase: RephraseColumn = None,
    dialect: DialectColumn = None,
    language: LanguageOption = None,
    skip_empty: SkipEmpty = False,
    seed: Annotated[int, typer.Option(help="Of folds, crops and training.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json: Json = False,
) -> None:
    """Train on labelled texts, in one language or in both; thresholds are chosen on held-out texts alone."""
    check_device(device)
    check_target(folder, option="--out", folder=True)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already and not an empty folder.", hint="Name a new one.")
    if folds < 1:
        raise ConfigError(f"--folds is {folds}.", hint="Give 1 or more.")
    given = _encoder_settings(encoder or [])
    examples: list[Example] = []
    for source in sources:
        examples += read_labelled(
            source,
            text=text,
            label=label,
            rephrase=rephrase,
            dialect=dialect,
            language=language,
            skip_empty=skip_empty,
        )
    examples += _further(external or [], examples)
    # What is wrong in the arguments and the files is said before torch is imported.
    from modicum.sarcasm.learners import Settings, fit

    settings = Settings(
        model=model,
        preset=preset.value,
        rule=rule.value,
        folds=folds,
        seed=seed,
        device=device,
        **given,
    )
    with stoppable("Nothing was written: the same command begins again."):
        fitted = fit(examples, settings, progress=lambda what: say(f"Fitting {what}"))
        fitted.system.save(folder)
    summary = _summary(fitted, folder)
    typer.echo(json_format.dumps(summary, indent=2) if json else _words(summary))


def _encoder_settings(given: list[str]) -> dict[str, Any]:
    from modicum.core.settings import change
    from modicum.sarcasm.configuration import EncoderSettings

    typed = {name: text for name, _, text in (entry.partition("=") for entry in given)}
    return asdict(change(EncoderSettings(), typed, owner="An encoder", write="--set"))


def _further(names: list[str], others: list[Example]) -> list[Example]:
    from modicum.core import catalogue
    from modicum.sarcasm.external import read_arsarcasm, without_overlap

    added: list[Example] = []
    for name in names:
        known = read_arsarcasm(catalogue.fetch(name)) if name == "arsarcasm-v2" else read_table(name).examples
        found = without_overlap(known, [*others, *added])
        say(f"{name}: {len(found.kept)} texts are added; {len(known) - len(found.kept)} overlap with the others.")
        added += found.kept
    return added


def _summary(fitted: Fitted, folder: Path) -> dict[str, Any]:
    decision = fitted.system.decision
    return {
        "folder": str(folder),
        "languages": {language: _held(fitted, language) for language in decision.thresholds},
        "rule": decision.rule,
        "pairs": fitted.margins is not None,
        "categories": decision.categories is not None,
    }


def _held(fitted: Fitted, language: Language) -> dict[str, Any]:
    from modicum.sarcasm.metrics import score_a

    places = [at for at, it in enumerate(fitted.held) if it.language == language]
    gold = [fitted.held[at].sarcastic or 0 for at in places]
    found = fitted.system.decision.labels(fitted.outputs, [it.language for it in fitted.held])[places]
    told = {
        "texts": len(places),
        "sarcastic": Counter(gold)[1],
        "threshold": fitted.system.decision.thresholds[language],
        "held-out F1": score_a(gold, found).f1,
    }
    margins = [] if fitted.margins is None else [it for it in fitted.margins[places] if not math.isnan(it)]
    return told | ({"held-out accuracy of pairs": sum(it > 0 for it in margins) / len(margins)} if margins else {})


def _words(summary: dict[str, Any]) -> str:
    pairs = "held-out accuracy of pairs"
    lines = [
        f"{language}: {it['texts']:,} held-out texts, {it['sarcastic']:,} sarcastic, F1 {it['held-out F1']:.3f} "
        f"(on texts that the threshold was chosen on: it flatters)"
        + (f"; of text and rephrase the sarcastic one is found in {it[pairs]:.1%}" if pairs in it else "")
        for language, it in summary["languages"].items()
    ]
    return "\n".join([*lines, f"Written to {summary['folder']}."])

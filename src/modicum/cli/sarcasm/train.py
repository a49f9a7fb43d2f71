"""``modicum sarcasm train``: from labelled texts to a folder that reads others."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from modicum.cli.common import (
    NOTHING_WRITTEN,
    Device,
    Json,
    check_least,
    check_new_folder,
    logged,
    print_json,
    say,
    stoppable,
)
from modicum.cli.sarcasm.files import (
    DialectColumn,
    LabelColumn,
    LanguageOption,
    Reader,
    RephraseColumn,
    SkipEmpty,
    TextColumn,
)
from modicum.core.devices import check_device

if TYPE_CHECKING:
    from modicum.sarcasm.examples import Example


_PAIRS = "held-out accuracy of pairs"


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
        Literal["modicum", "plain"],
        typer.Option(
            help="plain where the texts to be read are collected as the training texts are: it ranks and calibrates "
            "better there. modicum, which takes away shortcuts such as lengths, where they are not, or audit shows any."
        ),
    ] = "modicum",
    rule: Annotated[
        Literal["oof_f1", "half", "top_share", "prior_shift"],
        typer.Option(help="How labels are decided; see the docs."),
    ] = "oof_f1",
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
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Train on labelled texts, in one language or in both; thresholds are chosen on held-out texts alone."""
    check_device(device)
    check_new_folder(folder)
    check_least(1, folds=folds)
    given = _encoder_settings(encoder or [])
    reader = Reader(
        text=text, label=label, rephrase=rephrase, dialect=dialect, language=language, skip_empty=skip_empty
    )
    examples = [example for source in sources for example in reader.labelled(source)]
    examples += _further(external or [], examples)
    # What is wrong in the arguments and the files is said before torch is imported.
    from modicum.sarcasm.learners import Settings, fit

    settings = Settings(model=model, preset=preset, rule=rule, folds=folds, seed=seed, device=device, **given)
    with stoppable(NOTHING_WRITTEN), logged():
        fitted = fit(examples, settings)
        fitted.system.save(folder)
    decision = fitted.system.decision
    languages = {name: fitted.held_out(name) for name in decision.thresholds}
    if json:
        abilities = {"pairs": fitted.margins is not None, "categories": decision.categories is not None}
        print_json({"folder": str(folder), "languages": languages, "rule": decision.rule, **abilities})
        return
    for name, found in languages.items():
        pairs = f"; of text and rephrase the sarcastic one is found in {found[_PAIRS]:.1%}" if _PAIRS in found else ""
        typer.echo(
            f"{name}: {found['texts']:,} held-out texts, {found['sarcastic']:,} sarcastic, "
            f"F1 {found['held-out F1']:.3f} (on texts that the threshold was chosen on: it flatters){pairs}"
        )
    typer.echo(f"Written to {folder}.")


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
        known = read_arsarcasm(catalogue.fetch(name)) if name == "arsarcasm-v2" else Reader().table(name).examples
        found = without_overlap(known, [*others, *added])
        say(f"{name}: {len(found.kept)} texts are added; {len(known) - len(found.kept)} overlap with the others.")
        added += found.kept
    return added

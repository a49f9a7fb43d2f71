"""Which columns of a file are read: the options that all commands on files share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from modicum.cli.console import say
from modicum.errors import ConfigError, DataError

if TYPE_CHECKING:
    from modicum.sarcasm.examples import Example, Language
    from modicum.sarcasm.tables import Table


class LanguageChoice(StrEnum):
    """The languages, as typer wants them."""

    auto = "auto"
    en = "en"
    ar = "ar"


class LanguageName(StrEnum):
    """The languages of the shared task, as typer wants them."""

    en = "en"
    ar = "ar"


TextColumn = Annotated[str | None, typer.Option("--text-col", help="Column of the texts; text or tweet.")]
LabelColumn = Annotated[str | None, typer.Option("--label-col", help="Column of 0 and 1; sarcastic.")]
RephraseColumn = Annotated[str | None, typer.Option("--rephrase-col", help="Column of plain wordings; rephrase.")]
DialectColumn = Annotated[str | None, typer.Option("--dialect-col", help="Column of Arabic dialects; dialect.")]
LanguageOption = Annotated[
    LanguageChoice | None,
    typer.Option("--language", help="Of all texts; auto goes by the script. Default: the column language, or auto."),
]
System = Annotated[Path, typer.Option("--model", help="Folder that train wrote.")]
SkipEmpty = Annotated[bool, typer.Option("--skip-empty", help="Leave rows without a text out, and say how many.")]


def check_model(folder: Path) -> None:
    """See whether there is a folder, before libraries are imported to read it."""
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {folder}.", hint="Write --model with a folder that train wrote.")


def read_table(
    source: str,
    *,
    text: str | None = None,
    label: str | None = None,
    rephrase: str | None = None,
    dialect: str | None = None,
    language: LanguageChoice | None = None,
    skip_empty: bool | None = None,
    need_label: bool = True,
) -> Table:
    """Read a file, or "-" for standard input; what was left out is said.

    A command that has no --skip-empty leaves it at None.
    """
    from modicum.sarcasm.tables import read_rows

    table = read_rows(
        source,
        text_column=text,
        label_column=label,
        rephrase_column=rephrase,
        dialect_column=dialect,
        language=None if language is None else language.value,
        skip_empty=skip_empty,
        need_label=need_label,
    )
    if table.empty:
        say(f"{source}: {len(table.empty)} rows without a text were left out, the first at line {table.empty[0]}.")
    return table


def read_labelled(
    source: str,
    *,
    text: str | None = None,
    label: str | None = None,
    rephrase: str | None = None,
    dialect: str | None = None,
    language: LanguageChoice | None = None,
    skip_empty: bool = False,
    needed: bool = True,
) -> list[Example]:
    """Read a labelled file, or the training files of a folder that is laid out as iSarcasmEval."""
    if Path(source).is_dir():
        from modicum.sarcasm.examples import LANGUAGES
        from modicum.sarcasm.isarcasm import read_train

        chosen = LANGUAGES if language in {None, LanguageChoice.auto} else (cast("Language", str(language)),)
        return [example for it in chosen for example in read_train(Path(source), it)]
    table = read_table(
        source,
        text=text,
        label=label,
        rephrase=rephrase,
        dialect=dialect,
        language=language,
        skip_empty=skip_empty,
        need_label=needed,
    )
    if not needed:
        return table.examples
    known = [it for it in table.examples if it.sarcastic is not None]
    if not known:
        raise DataError(
            f"{source} has no labelled text.", hint="Name the column of 0 and 1 by --label-col, or call it sarcastic."
        )
    if len(known) < len(table):
        say(f"{source}: {len(table) - len(known)} rows without a label were left out.")
    return known

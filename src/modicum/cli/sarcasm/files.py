"""Which columns of a file are read: the options that all commands on files share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, cast

import typer

from modicum.cli.common import say
from modicum.errors import DataError

if TYPE_CHECKING:
    from modicum.sarcasm.examples import Example, Language
    from modicum.sarcasm.tables import Table


LanguageChoice: TypeAlias = Literal["auto", "en", "ar"]

TextColumn = Annotated[str | None, typer.Option("--text-col", help="Column of the texts; text or tweet.")]
LabelColumn = Annotated[str | None, typer.Option("--label-col", help="Column of 0 and 1; sarcastic.")]
RephraseColumn = Annotated[str | None, typer.Option("--rephrase-col", help="Column of plain wordings; rephrase.")]
DialectColumn = Annotated[str | None, typer.Option("--dialect-col", help="Column of Arabic dialects; dialect.")]
LanguageOption = Annotated[
    LanguageChoice | None,
    typer.Option("--language", help="Of all texts; auto goes by the script. Default: the column language, or auto."),
]
SkipEmpty = Annotated[bool, typer.Option("--skip-empty", help="Leave rows without a text out, and say how many.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """Reads files as the options say; what is left out is said."""

    text: str | None = None
    label: str | None = None
    rephrase: str | None = None
    dialect: str | None = None
    language: LanguageChoice | None = None
    skip_empty: bool | None = None  # None for a command that has no --skip-empty

    def table(self, source: str, *, need_label: bool = True) -> Table:
        """Read a file, or "-" for standard input."""
        from modicum.sarcasm.tables import read_rows

        table = read_rows(
            source,
            text_column=self.text,
            label_column=self.label,
            rephrase_column=self.rephrase,
            dialect_column=self.dialect,
            language=self.language,
            skip_empty=self.skip_empty,
            need_label=need_label,
        )
        if table.empty:
            say(f"{source}: {len(table.empty)} rows without a text were left out, the first at line {table.empty[0]}.")
        return table

    def labelled(self, source: str, *, needed: bool = True) -> Sequence[Example]:
        """Read a labelled file, or the training files of a folder that is laid out as iSarcasmEval."""
        if Path(source).is_dir():
            from modicum.sarcasm.examples import LANGUAGES
            from modicum.sarcasm.isarcasm import read_train

            chosen = LANGUAGES if self.language in {None, "auto"} else (cast("Language", self.language),)
            return [example for language in chosen for example in read_train(Path(source), language)]
        table = self.table(source, need_label=needed)
        if not needed:
            return table.examples
        known = [example for example in table.examples if example.sarcastic is not None]
        if not known:
            raise DataError(
                f"{source} has no labelled text.",
                hint="Name the column of 0 and 1 by --label-col, or call it sarcastic.",
            )
        if len(known) < len(table):
            say(f"{source}: {len(table) - len(known)} rows without a label were left out.")
        return known

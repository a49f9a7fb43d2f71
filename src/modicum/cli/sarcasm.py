"""``modicum sarcasm``: what was meant otherwise than it was said, in English and Arabic."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, cast

import typer

from modicum.cli.common import (
    NOTHING_WRITTEN,
    Device,
    Json,
    Model,
    check_least,
    check_model,
    check_new_folder,
    logged,
    out,
    print_json,
    say,
    stoppable,
)
from modicum.core.devices import check_device
from modicum.core.files import check_target
from modicum.errors import ConfigError, DataError

if TYPE_CHECKING:
    from modicum.sarcasm.data.examples import Example, Language, Pair
    from modicum.sarcasm.data.tables import Row, Table
    from modicum.sarcasm.evaluate.scores import Interval
    from modicum.sarcasm.explanation import Share
    from modicum.sarcasm.system import SarcasmSystem

app = typer.Typer(help="Detect, categorise and rank sarcasm in English and Arabic.", no_args_is_help=True)

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
_PAIRS = "held-out accuracy of pairs"
_REMARKS = {
    "": "",
    "shortcut": "predicts much in training",
    "reverses": "what training teaches is wrong in test",
    "shift": "the two files can be distinguished",
}
Task: TypeAlias = Literal["A", "B", "C"]
TaskOption = Annotated[Task, typer.Option("--task", help="A: sarcastic or not; B: categories; C: which of two.")]
Spoken = Annotated[Literal["en", "ar"], typer.Option("--language", help="Of the task.")]

_MAJORITY = 3  # of the five readers


@app.command()
def train(  # noqa: PLR0913 - one argument an option
    sources: Annotated[
        list[str], typer.Argument(help="CSV, TSV or JSONL files with text and sarcastic, or a folder as iSarcasmEval.")
    ],
    *,
    folder: Annotated[Path, typer.Option("--out", help="New folder of the system.")],
    model: Annotated[
        str,
        typer.Option(
            help="ngrams, an encoder to fine-tune (hub id, folder, offline), both: ngrams+ENCODER, or frozen:ENCODER."
        ),
    ] = "ngrams",
    preset: Annotated[
        Literal["auto", "plain", "modicum"],
        typer.Option(
            help="plain where the texts to be read are collected as the training texts are: it ranks better there. "
            "modicum, which takes away shortcuts such as lengths, where they are not. auto measures which; see --like."
        ),
    ] = "auto",
    like: Annotated[
        str | None,
        typer.Option(
            help="File of texts of the kind to be read, without labels: auto takes modicum where they are unlike "
            "those of training; else, or without them, what is better on held-out texts."
        ),
    ] = None,
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
    if encoder and model == "ngrams":
        raise ConfigError("--set is for an encoder, and ngrams are none.", hint="Name one by --model, or leave it out.")
    shared: dict[str, Any] = {"text_column": text, "language": language, "skip_empty": skip_empty}
    columns: dict[str, Any] = shared | {"label_column": label, "rephrase_column": rephrase, "dialect_column": dialect}
    examples = [example for source in sources for example in _labelled(source, **columns)]
    examples += _further(external or [], examples)
    later = None if like is None else _table(like, **shared).examples
    # What is wrong in the arguments and the files is said before torch is imported.
    from modicum.sarcasm.configuration import Settings
    from modicum.sarcasm.fitting import fit

    settings = Settings(model=model, preset=preset, rule=rule, folds=folds, seed=seed, device=device, **given)
    with stoppable(NOTHING_WRITTEN), logged():
        fitted = fit(examples, settings, like=later)
        fitted.system.save(folder)
    decision = fitted.system.decision
    languages = {name: fitted.held_out(name) for name in decision.thresholds}
    if json:
        abilities = {"pairs": fitted.margins is not None, "categories": decision.categories is not None}
        abilities |= {"preset": fitted.system.preset, "why": fitted.system.why}
        print_json({"folder": str(folder), "languages": languages, "rule": decision.rule, **abilities})
        return
    for name, found in languages.items():
        pairs = f"; of text and rephrase the sarcastic one is found in {found[_PAIRS]:.1%}" if _PAIRS in found else ""
        typer.echo(
            f"{name}: {found['texts']:,} held-out texts, {found['sarcastic']:,} sarcastic, "
            f"F1 {found['held-out F1']:.3f} (on texts that the threshold was chosen on: it flatters){pairs}"
        )
    typer.echo(f"Written to {folder}.")


@app.command()
def predict(
    source: Annotated[str, typer.Argument(help="CSV, TSV or JSONL file, - for standard input, or a text in quotes.")],
    *,
    model: Model,
    file: Annotated[Path | None, typer.Option("--out", help="CSV, TSV or JSONL file; standard output.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Also say which words speak for and against.")] = False,
    text: TextColumn = None,
    dialect: DialectColumn = None,
    language: LanguageOption = None,
    skip_empty: SkipEmpty = False,
    json: Json = False,
) -> None:
    """Give probabilities, labels and categories; of pairs, which text is the sarcastic one.

    Probabilities are calibrated on held-out training texts: they hold for texts that are collected as those were.
    """
    from modicum.sarcasm.data.tables import check_output, write_predictions

    if file is not None:
        check_output(file, (source, model))
    check_model(model)
    columns: dict[str, Any] = {"text_column": text, "dialect_column": dialect, "skip_empty": skip_empty}
    table = _table_or_text(source, language, columns)
    from modicum.sarcasm.system import SarcasmSystem

    system = SarcasmSystem.load(model)
    if table.pairs:
        cells = _pairs(system, table.pairs, explain=explain)
    else:
        cells = _texts(system, table.examples, explain=explain)
    rows: list[Row] = list(table.rows)
    if file is not None:
        write_predictions(file, rows, cells)
        say(f"{len(rows):,} rows: {file}")
        if json:
            print_json({"file": str(file), "rows": len(rows)})
    else:
        write_predictions("-", rows, cells, form="jsonl" if json else "csv")


@app.command()
def audit(
    train: Annotated[str, typer.Argument(help="Labelled training file, or a folder as iSarcasmEval.")],
    test: Annotated[str, typer.Argument(help="Test file, labelled or not.")],
    *,
    text: TextColumn = None,
    label: LabelColumn = None,
    dialect: DialectColumn = None,
    language: LanguageOption = None,
    skip_empty: SkipEmpty = False,
    seed: Annotated[int, typer.Option(help="Of the folds.")] = 0,
    json: Json = False,
) -> None:
    """Show what a model reaches that sees only the length, the position in the file, the punctuation and so on.

    The area under the ROC curve: 0.5 is chance. The direction is learnt in training, so that below 0.5 in test it
    misleads.
    """
    columns: dict[str, Any] = {"text_column": text, "label_column": label, "dialect_column": dialect}
    columns |= {"language": language, "skip_empty": skip_empty}
    seen, later = _labelled(train, **columns), _labelled(test, needed=False, **columns)
    from modicum.sarcasm.evaluate.audit import audit as measure  # scikit-learn takes a second to import

    found = measure(seen, later, seed=seed)
    if json:
        print_json([asdict(row) for row in found.rows])
        return
    from rich.table import Table

    table = Table("language", "what is seen", "train AUC", "test AUC", "")
    for row in found.rows:
        held = "" if row.test is None else f"{row.test:.3f}"
        table.add_row(row.language, row.cue, f"{row.train:.3f}", held, _REMARKS[row.remark])
    out().print(table)


@app.command()
def score(
    gold: Annotated[str, typer.Argument(help="Labelled file: the test file of the task, or your own.")],
    predicted: Annotated[
        Path | None,
        typer.Argument(
            help="Predictions in the same order: CSV, TSV or JSONL, a submission (.zip, .txt) or the file of readers' "
            "votes. If not given, they are a column of GOLD."
        ),
    ] = None,
    *,
    task: TaskOption = "A",
    language: Spoken = "en",
    against: Annotated[Path | None, typer.Option(help="The same of another system: is there a difference?")] = None,
    at_least: Annotated[
        int | None, typer.Option(min=1, max=5, help="Votes of readers that make a text sarcastic (A); 3.")
    ] = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    prediction: Annotated[
        str | None,
        typer.Option(
            "--prediction-col", help="Column of predictions, 0 and 1; predicted. On task B of categories; categories."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Score predictions as the shared task does: A by F1 of sarcastic, B by macro F1 of six, C by accuracy.

    The main score has its 95 % interval, by a bootstrap over the texts. iSarcasmEval's third-party annotations are
    scored likewise: what five readers said. What "predict --out found.csv" made of a labelled file is scored by
    "score found.csv"; columns of other names are named.
    """
    from modicum.sarcasm.evaluate.predictions import open_answers

    files = [predicted or Path(gold), *([] if against is None else [against])]
    answers = [open_answers(file, task, language, prediction) for file in files]
    if at_least is not None and (task != "A" or not any(answer.by_readers for answer in answers)):
        raise ConfigError("--at-least counts the votes of readers on task A.", hint="Give it with their .csv file.")
    items, text = _items(gold, task, text_column=text, label_column=label, language=language)
    truth = _labels(gold, items, task)
    if task == "A" and not any(truth):
        raise DataError(f"{gold} has no sarcastic text, so that F1 and recall say nothing.", hint="Give some of both.")
    ours, *others = [
        answer.predictions(items, truth, text_column=text, at_least=at_least or _MAJORITY) for answer in answers
    ]
    from modicum.sarcasm.evaluate.scores import difference_interval, score_a, score_b, score_c, score_interval

    scorer: Any = {"A": score_a, "B": score_b, "C": score_c}[task]
    scores = asdict(scorer(truth, ours))
    interval = _of_main(score_interval(task, truth, ours), task)
    difference: dict[str, Any] = {}
    for theirs in others:
        found = difference_interval(task, truth, ours, theirs)
        verdict = "no difference shown" if found.covers_zero else "better" if found.value > 0 else "worse"
        difference = _of_main(found, task) | {"against": str(against), "verdict": verdict}
    if json:
        print_json(scores | {"interval": interval} | ({"difference": difference} if difference else {}))
        return
    flat: dict[str, float] = {}
    for name, value in scores.items():
        flat |= value if isinstance(value, dict) else {name: value}  # of task B, that of each category
    for name, value in flat.items():
        ends = f" (95 % interval {interval['low']:.4f} to {interval['high']:.4f})" if name == interval["of"] else ""
        typer.echo(f"{name}: {value:.4f}{ends}")
    if difference:
        typer.echo(
            f"{difference['of']} less that of {difference['against']}: {difference['value']:+.4f} "
            f"(95 % interval {difference['low']:+.4f} to {difference['high']:+.4f}), {difference['verdict']}"
        )


@app.command()
def submit(
    items: Annotated[str, typer.Argument(help="Test file of the task; its labels are not looked at.")],
    *,
    model: Model,
    file: Annotated[Path, typer.Option("--out", help="The .zip file.")],
    task: TaskOption = "A",
    language: Spoken = "en",
    json: Json = False,
) -> None:
    """Predict the official test file and write the shared task's submission."""
    check_target(file, option="--out", inputs=(items, model))
    check_model(model)
    asked, _ = _items(items, task, language=language)
    from modicum.sarcasm.evaluate.predictions import write_submission
    from modicum.sarcasm.system import SarcasmSystem

    system = SarcasmSystem.load(model)
    if task == "C":
        predictions: Any = [int(second > 0.5) for second in system.compare(cast("list[Pair]", asked))]
    else:
        readings = system.read(cast("list[Example]", asked))
        predictions = readings.labels if task == "A" else readings.category_labels
    if predictions is None:
        raise DataError("The system knows no categories.", hint="Train it on texts whose categories are known.")
    write_submission(file, task, language, predictions, items=asked)
    if json:
        print_json({"task": task, "language": language, "predictions": len(asked), "file": str(file)})
    say(f"{len(asked):,} predictions of task {task}: {file}")


@app.command()
def export(
    texts: Annotated[
        str, typer.Argument(help="File of texts like those it will read: the result is compared on them.")
    ],
    *,
    model: Model,
    folder: Annotated[Path, typer.Option("--out", help="New folder.")],
    member: Annotated[int, typer.Option(help="Which model of an ensemble, from 0.")] = 0,
    int8: Annotated[bool, typer.Option("--int8", help="Also 8 bits, if 99 % of the labels stay the same.")] = False,
    text: TextColumn = None,
    language: LanguageOption = None,
    json: Json = False,
) -> None:
    """Write an encoder as ONNX, compared with PyTorch on your texts."""
    check_target(folder, option="--out", folder=True, inputs=(texts, model))
    check_model(model)
    table = _table(texts, text_column=text, language=language)
    from modicum.sarcasm.encoder.export import export_onnx
    from modicum.sarcasm.encoder.model import EnsembleModel
    from modicum.sarcasm.stack import StackedModel
    from modicum.sarcasm.system import SarcasmSystem

    system = SarcasmSystem.load(model)
    if isinstance(system.model, StackedModel):
        raise ConfigError(
            f"{model} joins n-grams and an encoder; ONNX holds an encoder alone.", hint="Train with --model ENCODER."
        )
    if not isinstance(system.model, EnsembleModel):
        raise ConfigError(f"{model} holds n-grams, no encoder.", hint="Train with --model and the name of an encoder.")
    members = system.model.members
    if not 0 <= member < len(members):
        raise ConfigError(f"There is no model {member}: the ensemble has {len(members)}.", hint="Count from 0.")
    asked = [system.preparation.text(example) for example in table.examples]
    report = export_onnx(members[member], folder, asked, int8=int8)
    if json:
        print_json(asdict(report))
    else:
        typer.echo(str(report))
    if int8 and not report.int8_written:
        raise typer.Exit(1)


def _encoder_settings(given: list[str]) -> dict[str, Any]:
    from modicum.core.settings import change
    from modicum.sarcasm.configuration import EncoderSettings

    typed = {name: text for name, _, text in (entry.partition("=") for entry in given)}
    return asdict(change(EncoderSettings(), typed, owner="An encoder", write="--set"))


def _further(names: list[str], others: list[Example]) -> list[Example]:
    from modicum.core import catalogue
    from modicum.sarcasm.data.external import read_arsarcasm, without_overlap

    added: list[Example] = []
    for name in names:
        known = read_arsarcasm(catalogue.fetch(name)) if name == "arsarcasm-v2" else _table(name).examples
        found = without_overlap(known, [*others, *added])
        say(f"{name}: {len(found.kept)} texts are added; {len(known) - len(found.kept)} overlap with the others.")
        added += found.kept
    return added


def _table(source: str, **columns: Any) -> Table:
    """Read a file, or "-" for standard input; say what is left out."""
    from modicum.sarcasm.data.tables import read_rows

    table = read_rows(source, **columns)
    if table.empty:
        say(f"{source}: {len(table.empty)} rows without a text were left out, the first at line {table.empty[0]}.")
    return table


def _labelled(
    source: str, *, language: LanguageChoice | None, needed: bool = True, **columns: Any
) -> Sequence[Example]:
    """Read a labelled file, or the training files of a folder that is laid out as iSarcasmEval."""
    if Path(source).is_dir():
        from modicum.sarcasm.data.examples import LANGUAGES
        from modicum.sarcasm.data.isarcasm import read_train

        chosen = LANGUAGES if language in {None, "auto"} else (cast("Language", language),)
        return [example for each in chosen for example in read_train(Path(source), each)]
    table = _table(source, language=language, need_label=needed, **columns)
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


def _table_or_text(source: str, language: LanguageChoice | None, columns: dict[str, Any]) -> Table:
    file = Path(source).suffix.lower() in {".csv", ".tsv", ".jsonl", ".ndjson"}
    if source == "-" or file or os.path.exists(source):  # noqa: PTH110 - a text may be too long for Path.exists
        return _table(source, language=language, **columns)
    from modicum.sarcasm.data.tables import one_text

    return one_text(" ".join(source.split()), language=language)


def _texts(system: SarcasmSystem, examples: list[Example], *, explain: bool) -> list[dict[str, Any]]:
    from modicum.sarcasm.data.examples import CATEGORIES

    found = system.read(examples)
    cells: list[dict[str, Any]] = []
    for index, example in enumerate(examples):
        threshold = system.decision.threshold(example.language)
        cell: dict[str, Any] = {
            "probability": float(found.probabilities[index]),  # all digits, so that the label can be found again
            **({} if threshold is None else {"threshold": threshold}),
            "predicted": int(found.labels[index]),
        }
        if found.category_labels is not None:
            # None of a text that is not called sarcastic; the files of the shared task list them all the same.
            chosen = found.category_labels[index] * found.labels[index]
            cell["categories"] = " ".join(name for name, label in zip(CATEGORIES, chosen, strict=True) if label)
        if explain:
            cell["explanation"] = _spelt(system.explain(example))
        cells.append(cell)
    return cells


def _pairs(system: SarcasmSystem, pairs: list[Pair], *, explain: bool) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = []
    for pair, second in zip(pairs, system.compare(pairs), strict=True):
        cell: dict[str, Any] = {"probability_of_second": float(second), "predicted": int(second > 0.5)}
        if explain:
            shares = enumerate(system.explain_pair(pair))
            cell |= {f"explanation_{number}": _spelt(each) for number, each in shares}
        cells.append(cell)
    return cells


def _spelt(shares: list[Share]) -> str:
    return " ".join(f"{share.text}({share.share:+.2f})" for share in shares)


def _items(source: str, task: Task, **columns: Any) -> tuple[list[Example] | list[Pair], str | None]:
    # With the column of the texts.
    table = _table(source, **columns)
    found = table.pairs if task == "C" else table.examples
    if not found:
        raise DataError(
            f"{source} has no {'pairs' if task == 'C' else 'texts'}; its columns are {', '.join(table.columns)}.",
            hint="Give a file of texts, or --task C for pairs in text_0 and text_1."
            if table.pairs
            else "Give a file of pairs, in the columns text_0 and text_1.",
        )
    return found, table.text_column


def _labels(source: str, items: Sequence[Example] | Sequence[Pair], task: Task) -> list[Any]:
    labels = [cast("Example", item).categories if task == "B" else item.sarcastic for item in items]
    if missing := sum(label is None for label in labels):
        raise DataError(
            f"{missing} of the {len(labels)} rows of {source} have no label of task {task}.",
            hint="Give a file with all labels, in the six columns of the categories."
            if task == "B"
            else "Give a file with all labels, and name their column by --label-col.",
        )
    return labels


def _of_main(found: Interval, task: Task) -> dict[str, Any]:
    from modicum.core.intervals import LEVEL
    from modicum.sarcasm.evaluate.scores import MAIN_SCORES

    return {"of": MAIN_SCORES[task], "level": LEVEL, **asdict(found)}

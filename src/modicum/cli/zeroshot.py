"""``modicum zeroshot``: texts are classified from label words and raw text, without labelled examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from modicum.cli.common import (
    Device,
    Json,
    check_least,
    check_new_folder,
    print_json,
    progress_bar,
    say,
    stoppable,
)
from modicum.core.files import check_target
from modicum.errors import ConfigError, DataError

if TYPE_CHECKING:
    from modicum.core.tables import Cells, Record
    from modicum.zeroshot import CorpusIndex, GoTuner, Task

app = typer.Typer(help="Classify texts from label words and raw text, without labelled ones.", no_args_is_help=True)

Corpus = Annotated[Path, typer.Argument(help="Raw text: a .txt, .csv, .tsv or .jsonl file, or a folder of them.")]
Labels = Annotated[str | None, typer.Option("--labels", help="Labels with commas between them: a,b,c.")]
TaskFile = Annotated[Path | None, typer.Option("--task", help="YAML: labels, verbalizer and templates.")]
Index = Annotated[Path | None, typer.Option("--index", help="Folder of the indexed corpus, made where it is missing.")]
Base = Annotated[str, typer.Option("--model", help="Hub id or folder of a model; offline for the packaged MiniLM.")]
Answering = Annotated[
    str, typer.Option("--model", help="Folder that tune wrote, or a model that answers without tuning, by cosine.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Such as per_class=1000 or formats=context, of tune also c=1; repeatable."),
]
Seed = Annotated[int, typer.Option(help="Of the draw of rows, of their order and of dropout.")]
TextColumn = Annotated[str, typer.Option("--text-col", help="Column of the texts.")]
LabelColumn = Annotated[str, typer.Option("--label-col", help="Column of the labels.")]
Calibration = Annotated[
    Literal["none", "content-free", "batch-mean"],
    typer.Option(help="What is subtracted from the scores; both kinds can do harm, and say how."),
]


@app.command()
def mine(
    corpus: Corpus,
    *,
    labels: Labels = None,
    task: TaskFile = None,
    index: Index = None,
    file: Annotated[Path | None, typer.Option("--out", help="Table of the mined rows.")] = None,
    suggest: Annotated[int, typer.Option(help="Words to suggest for each label; 0 for none.")] = 0,
    model: Base = "offline",
    given: Set = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Show what a corpus has for each label word, and words that would find more."""
    from modicum.core.tables import form_of, write_rows

    check_least(0, suggest=suggest)
    if file is not None:
        form_of(file)
        check_target(file, option="--out", inputs=(corpus, task))
    asked = _task(labels, task)
    tuner, opened = _tuner(model, asked, given, fits=False), _index(corpus, index)
    mined = tuner.mine(opened, seed=seed)
    words = {label: tuner.suggest_words(label, suggest) for label in asked.labels} if suggest else {}
    if file is not None:
        held = set(mined.holdout.tolist())
        columns = zip(mined.texts, mined.labels.tolist(), mined.formats, mined.words, strict=True)
        rows = (
            {"text": text, "label": asked.labels[at], "format": form, "word": word, "held_out": int(row in held)}
            for row, (text, at, form, word) in enumerate(columns)
        )
        write_rows(file, ("text", "label", "format", "word", "held_out"), rows)
    if json:
        print_json({**asdict(mined.report), "suggested": words})
        return
    typer.echo(str(mined.report))
    for label, found in words.items():
        typer.echo(f"Words near {label}: {', '.join(found) or 'none'}")


@app.command()
def tune(  # noqa: PLR0913 - one argument an option
    corpus: Corpus,
    *,
    folder: Annotated[Path, typer.Option("--out", help="New folder of the tuned model.")],
    labels: Labels = None,
    task: TaskFile = None,
    index: Index = None,
    labelled: Annotated[
        Path | None,
        typer.Option(
            help="Some 50 labelled texts or more, to judge by; sentences of the corpus like them are left out."
        ),
    ] = None,
    model: Base = "offline",
    route: Annotated[
        Literal["head", "encoder", "mlm", "seq2seq"],
        typer.Option(help="head is quick; encoder trains all; the others are for masked LMs and T5-style models."),
    ] = "head",
    given: Set = None,
    text: TextColumn = "text",
    label: LabelColumn = "label",
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Mine a corpus, tune a model, and say what came of it: without labels, or judged on some."""
    check_new_folder(folder, (corpus, task, labelled))
    asked = _task(labels, task)
    records = [] if labelled is None else _rows(str(labelled), text, label)
    texts, truth = [str(each.cells[text]) for each in records], [str(each.cells[label]) for each in records]
    from modicum.zeroshot.verdict import change, evaluate, numbers_of

    numbers_of(asked, truth, [f"{labelled}, line {each.line}" for each in records])
    tuner, opened = _tuner(model, asked, given, device), _index(corpus, index)
    with stoppable("No model was written."):
        mined = tuner.mine(opened, evaluation=texts, seed=seed)
        say(str(mined.report))
        fit = tuner.fit(mined, route, seed).report
        changed = change(tuner, opened.sample(500, seed))
        judged = evaluate(tuner, texts, truth) if texts else None
        tuner.save_pretrained(folder)
    if fit is None:
        return
    if json:
        for each in judged.few if judged else ():
            say(each)
        found = {"mined": asdict(mined.report), "fit": asdict(fit), "change": asdict(changed)}
        print_json({**found, "judged": judged and asdict(judged), "folder": str(folder)})
        return
    typer.echo(
        f"{fit.rows:,} mined rows; of {fit.held_out:,} held-out ones the label word is found in {fit.accuracy:.1%}, "
        f"before tuning in {fit.baseline_accuracy:.1%} (of mined rows, not of your texts)."
    )
    typer.echo(str(changed))
    typer.echo(str(judged) if judged else "Whether that is better only labels can say: give some 50 with --labelled.")


@app.command()
def predict(
    source: Annotated[str, typer.Argument(help="CSV, TSV or JSONL file of texts, or - for standard input.")],
    *,
    model: Answering = "offline",
    labels: Labels = None,
    task: TaskFile = None,
    file: Annotated[Path | None, typer.Option("--out", help="CSV, TSV or JSONL file; standard output.")] = None,
    calibration: Calibration = "none",
    abstain: Annotated[
        float | None, typer.Option(help="Leave texts open that are not clear; 0.1 is a usual level (tuned models).")
    ] = None,
    text: TextColumn = "text",
    json: Json = False,
) -> None:
    """Give each text its label and the probability of it; at once by --labels, or by a tuned model."""
    from modicum.core.tables import form_of, source_name, write_rows

    if file is not None:
        form_of(file)
        check_target(file, option="--out", inputs=(source, model, task))
    if abstain is not None and not 0 < abstain < 1:
        raise ConfigError(f"--abstain is {abstain}.", hint="Give a level between 0 and 1, such as 0.1.")
    if abstain is not None and not _is_tuned(model):
        raise ConfigError("--abstain needs a tuned model.", hint="Give --model a folder that zeroshot tune wrote.")
    tuner = _answering(model, labels, task)
    records = _rows(source, text)
    if clash := {"predicted", "probability"} & {name for each in records for name in each.cells}:
        raise DataError(
            f"{source_name(source)} has a column {min(clash)!r} already, where the answer would be written.",
            hint="Rename or remove it.",
        )
    rule = None if abstain is None else tuner.abstention(abstain)
    scores = tuner.scores([str(each.cells[text]) for each in records], calibration)
    silent = [False] * len(records) if rule is None else [bool(each) for each in rule.abstains(scores)]
    rows: list[Cells] = []
    for record, chances, open_ in zip(records, scores.softmax(1), silent, strict=True):
        best = int(chances.argmax())
        found = {"predicted": None if open_ else tuner.task.labels[best], "probability": float(chances[best])}
        rows.append({**record.cells, **found})
    write_rows("-" if file is None else file, list(rows[0]), rows, form="jsonl" if json and file is None else None)
    if file is not None:
        say(f"{len(rows):,} rows: {file}")
        if json:
            print_json({"file": str(file), "rows": len(rows)})


@app.command()
def evaluate(
    source: Annotated[str, typer.Argument(help="CSV, TSV or JSONL file of labelled texts, or -.")],
    *,
    model: Answering = "offline",
    labels: Labels = None,
    task: TaskFile = None,
    text: TextColumn = "text",
    label: LabelColumn = "label",
    json: Json = False,
) -> None:
    """Score a model on labelled texts, against cosine and, where the task is sentiment, VADER."""
    tuner = _answering(model, labels, task)
    records = _rows(source, text, label)
    from modicum.core.tables import source_name
    from modicum.zeroshot.verdict import evaluate as judge
    from modicum.zeroshot.verdict import numbers_of

    texts, truth = [str(each.cells[text]) for each in records], [str(each.cells[label]) for each in records]
    numbers_of(tuner.task, truth, [f"{source_name(source)}, line {each.line}" for each in records])
    found = judge(tuner, texts, truth)
    if json:
        for each in found.few:
            say(each)
        print_json(asdict(found))
        return
    typer.echo(str(found))
    for name, row in zip(tuner.task.labels, found.confusion, strict=True):
        counts = ", ".join(f"{other} {count:,}" for other, count in zip(tuner.task.labels, row, strict=True))
        typer.echo(f"{name} is called: {counts}")


def _task(labels: str | None, file: Path | None) -> Task:
    from modicum.zeroshot.task import Task

    if (labels is None) == (file is None):
        raise ConfigError("One of --labels and --task was expected.", hint="Write --labels a,b,c or --task task.yaml.")
    if file is not None:
        return Task.from_yaml(file)
    names = [each.strip() for each in (labels or "").split(",")]
    if "" in names:
        raise ConfigError(f"--labels {labels} has an empty place.", hint="Write --labels a,b,c.")
    return Task(names)


def _tuner(model: str, task: Task, given: Sequence[str] | None, device: str = "cpu", *, fits: bool = True) -> GoTuner:
    from modicum.core.settings import change
    from modicum.zeroshot import FitSettings, GoTuner, MineSettings

    known = {each.name for each in fields(MineSettings)}
    fitting = {each.name for each in fields(FitSettings)} if fits else set[str]()
    mining, others = dict[str, str](), dict[str, str]()
    for each in given or ():
        name, _, value = each.partition("=")
        if name not in known | fitting:
            raise ConfigError(
                f"There is no setting {name!r}.", hint=f"Write --set with one of {', '.join(sorted(known | fitting))}."
            )
        (mining if name in known else others)[name] = value
    options: dict[str, Any] = {"owner": "zeroshot", "write": "--set"}
    settings = change(FitSettings(), others, **options)
    return GoTuner(model, task=task, settings=settings, mining=change(MineSettings(), mining, **options), device=device)


def _index(corpus: Path, folder: Path | None) -> CorpusIndex:
    from modicum.zeroshot import CorpusIndex

    if folder is not None and (folder / "index.json").is_file():
        CorpusIndex.check_corpus(folder, corpus)
        return CorpusIndex.open(folder)
    if not corpus.exists():
        raise ConfigError(f"There is no {corpus}.", hint="Name a file or a folder of raw text.")
    if folder is not None:
        check_target(folder, option="--index", folder=True, inputs=(corpus,))  # in it, it would be a part of it
    with progress_bar("Indexing") as progress:
        return CorpusIndex.build(corpus, folder, progress=progress)


def _answering(model: str, labels: str | None, task: Path | None) -> GoTuner:
    from modicum.core.pretrained import OFFLINE
    from modicum.zeroshot import GoTuner

    if _is_tuned(model):
        if labels is not None or task is not None:
            raise ConfigError(f"{model} has its own labels.", hint="Leave --labels and --task out.")
        return GoTuner.from_pretrained(model)
    if labels is None and task is None and model != OFFLINE:
        found = f"{model} was not tuned" if Path(model).is_dir() else f"There is no folder {model}"
        raise ConfigError(
            f"{found}, and neither --labels nor --task came.",
            hint="Name a folder that zeroshot tune wrote, or write --labels a,b,c.",
        )
    return GoTuner(model, task=_task(labels, task))


def _is_tuned(model: str) -> bool:
    document = Path(model) / "gotuning.json"
    if not document.is_file() and document.with_suffix(".safetensors").is_file():
        raise DataError(f"{model} has no {document.name}.", hint="Give a folder that zeroshot tune wrote, complete.")
    return document.is_file()


def _rows(source: str, text: str, *columns: str) -> list[Record]:
    from modicum.core.tables import read_filled

    return read_filled(source, text, *columns, hint="Name it with --text-col or --label-col.")

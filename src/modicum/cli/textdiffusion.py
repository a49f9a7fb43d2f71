"""``modicum textdiffusion``: train a text diffusion on pairs of texts, write targets with it, and score them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from modicum.cli.common import (
    NOTHING_WRITTEN,
    Device,
    Json,
    Model,
    check_least,
    check_model,
    check_new_folder,
    out,
    print_json,
    progress_bar,
    say,
    stoppable,
)
from modicum.core.devices import check_device
from modicum.core.files import check_picture, check_target
from modicum.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor

    from modicum.textdiffusion import SeqDiffuSeqForConditionalGeneration

app = typer.Typer(help="Write texts from texts by diffusion, all words at once.", no_args_is_help=True)

_CURVE = (2, 5, 10, 20, 50, 100, 200)
_NETWORKS: dict[str, dict[str, Any]] = {
    "paper": {},
    # With init_std=0.02 narrow networks ignore their source for long.
    "fast": {"embedding_dim": 32, "d_model": 96, "attention_heads": 4, "ffn_dim": 288, "init_std": 0.1, "bins": 20},
}
_LAYERS = {"paper": 6, "fast": 2}

Pairs = Annotated[
    Path, typer.Argument(help=".jsonl, .csv or .tsv with src and trg in each row; or a text, one source a line.")
]
Targets = Annotated[Path | None, typer.Argument(help="With a text: another one, the target of each source a line.")]
Calls = Annotated[int, typer.Option(help="Network calls of a sample; choose them on validation data.")]
Candidates = Annotated[int, typer.Option(help="Samples of a source, of which the one of least risk is chosen.")]
SamplerOption = Annotated[Literal["ddpm", "ddim", "dpmpp_2m"], typer.Option("--sampler", help="How noise is removed.")]
Truncate = Annotated[bool, typer.Option("--truncate", help="Cut texts that are too long.")]
Seed = Annotated[int, typer.Option(help="Of the noise.")]
SchedulePlot = Annotated[
    Path | None, typer.Option("--schedule-plot", help="Picture of the learned noise schedule: .png, .svg or .pdf.")
]


@app.command()
def train(  # noqa: PLR0913 - one argument an option
    source: Pairs,
    targets: Targets = None,
    *,
    folder: Annotated[Path, typer.Option("--out", help="New folder of the network.")],
    preset: Annotated[
        Literal["paper", "fast"], typer.Option(help="paper: as published, a million steps. fast: a small network.")
    ] = "fast",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Of the training: steps=2000, batch=64, precision=bf16; may be repeated."),
    ] = None,
    tokens: Annotated[
        Literal["words", "bytes"], typer.Option(help="words: what stands between spaces. bytes: byte-level BPE.")
    ] = "bytes",
    vocabulary: Annotated[int, typer.Option(help="Tokens at most.")] = 10_005,
    source_length: Annotated[int | None, typer.Option(help="Tokens of a source; those of the longest one.")] = None,
    target_length: Annotated[
        int | None, typer.Option(help="Positions of the canvas; those of the longest one.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Of the Transformer; 96 (fast) or 512 (paper).")] = None,
    layers: Annotated[int | None, typer.Option(help="Of encoder and decoder each; 2 (fast) or 6 (paper).")] = None,
    truncate: Truncate = False,
    checkpoints: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints: the same command then goes on from the last one.")
    ] = None,
    schedule_plot: SchedulePlot = None,
    seed: Annotated[int, typer.Option(help="Of weights, order, times and noise.")] = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Train a network on pairs of texts, with its tokenizer and its noise schedule in one folder."""
    check_least(0, seed=seed)
    check_least(1, layers=layers)
    check_least(2, width=width)
    check_least(3, source_length=source_length, target_length=target_length)
    check_least(300 if tokens == "bytes" else 6, vocabulary=vocabulary)
    check_new_folder(folder, (source, targets))
    if checkpoints is not None and checkpoints.resolve().is_relative_to(folder.resolve()):  # it must stay empty
        raise ConfigError(f"--checkpoints {checkpoints} is in --out {folder}.", hint="Name a folder outside of it.")
    if schedule_plot is not None:
        _check_plot(schedule_plot, "--schedule-plot")
    check_device(device)
    from modicum.textdiffusion.data import configure, encode_pairs, read_pairs, room, train_tokenizer

    pairs = read_pairs(source, targets)
    from modicum.core.progress import counted
    from modicum.core.seeding import seeded_globally
    from modicum.core.settings import change
    from modicum.textdiffusion import PRESETS, SeqDiffuSeqForConditionalGeneration, save_model
    from modicum.textdiffusion import train as train_network

    typed = {name: text for name, _, text in (entry.partition("=") for entry in settings or ())}
    recipe = change(PRESETS[preset], typed, owner="A training", write="--set")

    tokenizer = train_tokenizer(
        [text for pair in pairs for text in (pair.source, pair.target)], size=vocabulary, split=tokens
    )
    options = dict(_NETWORKS[preset])
    if width is not None:
        options |= {"d_model": width, "ffn_dim": 4 * width}
    config = configure(
        tokenizer,
        **options,
        encoder_layers=layers or _LAYERS[preset],
        decoder_layers=layers or _LAYERS[preset],
        source_length=source_length or room(tokenizer, [pair.source for pair in pairs], at_most=128),
        target_length=target_length or room(tokenizer, [pair.target for pair in pairs], at_most=64),
    )
    examples = encode_pairs(pairs, tokenizer, config, truncate=truncate)
    with seeded_globally(seed, "initialisation"):
        model = SeqDiffuSeqForConditionalGeneration(config)
    kept = NOTHING_WRITTEN if checkpoints is None else f"The same command goes on from {checkpoints}."
    with stoppable(kept), progress_bar("train") as progress:
        done = train_network(
            model,
            examples,
            recipe,
            seed=seed,
            device=device,
            checkpoints=checkpoints,
            checkpoint_every=min(1000, max(1, recipe.steps // 10)),  # so that a short training has some, too
            tell=counted(progress),
        )
        save_model(folder, model.cpu(), tokenizer)
    _draw_schedule(schedule_plot, model)
    numbers = {"pairs": len(pairs), "parameters": model.num_parameters(), **asdict(done)}
    if json:
        print_json({"folder": str(folder), **numbers})
        return
    typer.echo(
        f"{folder}: {numbers['parameters']:,} parameters, trained on {len(pairs):,} pairs for {done.updates:,} steps"
    )
    typer.echo(f"  mean loss {done.loss:.4f}, {done.seconds:.0f} s")


@app.command()
def generate(
    source: Annotated[Path, typer.Argument(help="Text with one source a line; - for standard input.")] = Path("-"),
    *,
    model: Model,
    calls: Calls = 20,
    candidates: Candidates = 10,
    sampler: SamplerOption = "ddpm",
    known: Annotated[
        Path | None,
        typer.Option(help="Text with a line for each source: tokens with spaces between them, _ where one is free."),
    ] = None,
    show_steps: Annotated[
        bool, typer.Option("--show-steps", help="Show on stderr what the network reads at each call, of one sample.")
    ] = False,
    truncate: Truncate = False,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Write the target of each source, one a line; --json gives all candidates.

    --known fixes tokens of the target, and the others are filled in. --show-steps shows the first source.
    """
    _check_sampling(model, calls, candidates, device)
    from modicum.core.tables import read_text

    text = read_text(source)
    if not text.strip():
        raise DataError("There are no sources.", hint="Write a source in each line.")
    sources = text.removesuffix("\n").split("\n")
    sources = [line.rstrip("\r") for line in sources]
    if empty := [number for number, line in enumerate(sources, start=1) if not line.strip()]:
        raise DataError(f"Line {empty[0]} of the sources is empty.", hint="Write a source in each line.")
    network, tokenizer = _opened(model, device)
    _check_calls(network, calls)
    fixed = None if known is None else _known(known, tokenizer, len(sources), network.config.target_length)
    from modicum.textdiffusion import choose, generate_texts

    options: dict[str, Any] = {"num_inference_steps": calls, "sampler": sampler, "truncate": truncate, "seed": seed}
    with stoppable("Nothing more is written."):
        if show_steps:
            _show_steps(network, tokenizer, sources[0], None if fixed is None else fixed[:1], calls, options)
        found = generate_texts(
            network,
            tokenizer,
            sources,
            known_tokens=fixed,
            num_return_sequences=candidates,
            selection="none",
            **options,
        )
    chosen = choose([[tokenizer.encode(text, add_special_tokens=False).ids for text in texts] for texts in found])
    if json:
        print_json(
            [
                {"source": text, "target": texts[index], "candidates": texts}
                for text, texts, index in zip(sources, found, chosen, strict=True)
            ]
        )
        return
    for texts, index in zip(found, chosen, strict=True):
        typer.echo(texts[index])


@app.command()
def evaluate(
    source: Pairs,
    targets: Targets = None,
    *,
    model: Model,
    calls: Calls = 20,
    candidates: Candidates = 10,
    sampler: SamplerOption = "ddpm",
    plot: Annotated[
        Path | None, typer.Option(help="Picture of the error rate at 2 to 200 network calls: .png, .svg or .pdf.")
    ] = None,
    schedule_plot: SchedulePlot = None,
    truncate: Truncate = False,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Score one sample, the candidate of least risk and the best one, and beside them the source, copied.

    Rows with the same source are references of one source. The error rate counts edits as a share of the words of the
    references: of phonemes, where these stand between spaces. A text is wrong if it is no reference.
    """
    for option, path in (("--plot", plot), ("--schedule-plot", schedule_plot)):
        if path is not None:
            _check_plot(path, option)
    _check_sampling(model, calls, candidates, device)
    from modicum.textdiffusion.data import read_pairs
    from modicum.textdiffusion.tasks import by_source

    references = by_source(read_pairs(source, targets))
    network, tokenizer = _opened(model, device)
    _check_calls(network, calls)
    from modicum.textdiffusion import choose, distinct_n, generate_texts, score_texts

    sources, wanted = list(references), list(references.values())

    def write(number: int, each: int) -> list[list[str]]:
        return generate_texts(
            network,
            tokenizer,
            sources,
            truncate=truncate,
            seed=seed,
            num_inference_steps=number,
            num_return_sequences=each,
            selection="none",
            sampler=sampler,
        )

    with stoppable("Nothing was drawn."):
        found = write(calls, candidates)
        words = [[text.split() for text in texts] for texts in found]
        ids = [[tokenizer.encode(text, add_special_tokens=False).ids for text in texts] for texts in found]
        likely = [[texts[index]] for texts, index in zip(found, choose(ids), strict=True)]
        one, chosen = score_texts(found, wanted, sources), score_texts(likely, wanted, sources)
        curve: dict[int, float] = {}
        if plot is not None:
            numbers = [number for number in _CURVE if number <= network.config.num_steps]
            curve = {each: score_texts(write(each, 1), wanted, sources, bleu=False)["error_rate"] for each in numbers}
            from modicum.textdiffusion.plots import draw_quality

            draw_quality(plot, list(curve), {"one sample": list(curve.values())}, one["copied_error_rate"])
            say(f"Picture: {plot}")
    _draw_schedule(schedule_plot, network)
    first = [texts[:1] for texts in words]
    result: dict[str, Any] = {
        "sources": len(sources),
        "network calls": calls,
        "one sample": _scores(one, ""),
        f"best of {candidates} by MBR": _scores(chosen, ""),
        f"best of {candidates} by the reference": _scores(one, "oracle_"),
        "copy the source": _scores(one, "copied_"),
        "distinct-1": distinct_n(first, 1),
        f"distinct-4 of {candidates}": distinct_n(words, 4),
    }
    if json:
        print_json(result | {"curve": curve})
        return
    _show(result)


def _scores(found: dict[str, float], prefix: str) -> dict[str, float]:
    return {name: found[f"{prefix}{name}"] for name in ("error_rate", "wrong", "bleu") if f"{prefix}{name}" in found}


def _show(result: dict[str, Any]) -> None:
    from rich.table import Table

    typer.echo(f"{result['sources']:,} sources, {result['network calls']} network calls")
    table = Table("", "error rate", "wrong", "BLEU", box=None, pad_edge=False)
    for name, scores in result.items():
        if isinstance(scores, dict):
            shares = [f"{scores[each]:.1%}" for each in ("error_rate", "wrong")]
            table.add_row(name, *shares, f"{scores['bleu']:.1f}" if "bleu" in scores else "")
    out().print(table)
    for name, share in result.items():
        if name.startswith("distinct"):
            typer.echo(f"{name}: {share:.3f}")


def _draw_schedule(path: Path | None, network: SeqDiffuSeqForConditionalGeneration) -> None:
    if path is not None:
        from modicum.textdiffusion.plots import draw_schedule

        draw_schedule(path, network.schedule)
        say(f"Picture: {path}")


def _check_plot(path: Path, option: str) -> None:
    check_picture(path)
    check_target(path, option=option)


def _check_sampling(model: Path, calls: int, candidates: int, device: str) -> None:
    check_least(1, calls=calls, candidates=candidates)
    check_model(model)
    check_device(device)


def _check_calls(network: SeqDiffuSeqForConditionalGeneration, calls: int) -> None:
    if calls > network.config.num_steps:
        raise ConfigError(
            f"--calls is {calls}, but the schedule of the network has {network.config.num_steps} steps.",
            hint="Use 20, or the number that was best on validation data.",
        )


def _opened(folder: Path, device: str) -> tuple[SeqDiffuSeqForConditionalGeneration, Any]:
    from modicum.textdiffusion import open_model
    from modicum.textdiffusion.data import plain

    network, tokenizer = open_model(folder)
    network.to(device)  # pyright: ignore[reportArgumentType, reportUnknownMemberType]
    return network, plain(tokenizer)


def _known(path: Path, tokenizer: Any, count: int, positions: int) -> list[dict[int, int]]:
    """Read the fixed tokens of each source, by position; position 0 has the token that begins each text."""
    from modicum.core.tables import read_text

    lines = read_text(path).removesuffix("\n").split("\n")
    if len(lines) != count:
        raise DataError(f"{path} has {len(lines)} lines for {count} sources.", hint="Write a line for each source.")
    table: list[dict[int, int]] = []
    for number, line in enumerate(lines, start=1):
        fixed: dict[int, int] = {}
        if len(line.split()) >= positions:
            raise ConfigError(
                f"{path}, line {number} has {len(line.split())} tokens, but a target {positions - 1} positions.",
                hint="Leave out the free ones at the end.",
            )
        for position, token in enumerate(line.split(), start=1):
            if token == "_":  # noqa: S105 - no password
                continue
            found = tokenizer.token_to_id(token)
            if found is None:
                raise ConfigError(
                    f"{path}, line {number} fixes {token!r}, which is no token of the network.",
                    hint="Write tokens as tokenizer.json has them, and _ where one is free.",
                )
            fixed[position] = found
        table.append(fixed)
    return table


def _show_steps(
    network: SeqDiffuSeqForConditionalGeneration,
    tokenizer: Any,
    source: str,
    known: list[dict[int, int]] | None,
    calls: int,
    options: dict[str, Any],
) -> None:
    """Say what the network makes of one sample at each call."""
    from modicum.textdiffusion import generate_texts

    number = 0
    say(f"{source}\n  call  signal  what the network reads")

    def watch(t: int, tokens: Tensor) -> None:
        nonlocal number
        number += 1
        ids = cast("list[int]", tokens[0].tolist())  # pyright: ignore[reportUnknownMemberType]
        text = tokenizer.decode(ids, skip_special_tokens=True)
        say(f"  {number:>{len(str(calls))}}/{calls}  {network.schedule.alphas_cumprod[t].mean():6.1%}  {text}")

    generate_texts(
        network,
        tokenizer,
        [source],
        known_tokens=known,
        num_return_sequences=1,
        selection="none",
        watch=watch,
        **options,
    )

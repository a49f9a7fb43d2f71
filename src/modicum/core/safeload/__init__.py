"""Untrusted files to arrays: no code of theirs runs, and their size is bounded before memory or disk is spent.

A reader of research data meets pickles, NumPy files, torch checkpoints and archives. Each of them can do more than
carry data; the functions here take the data and refuse the rest with `modicum.errors.UnsafeFileError`. A file that is
merely damaged is a `modicum.errors.DataError`.
"""

from __future__ import annotations

from modicum.core.safeload.archives import extract, read_members
from modicum.core.safeload.pickles import load_pickle
from modicum.core.safeload.plain import load_npy, load_npz, load_torch, parse_json, read_json

__all__ = ["extract", "load_npy", "load_npz", "load_pickle", "load_torch", "parse_json", "read_json", "read_members"]

"""Readers of the files in which multimodal data are passed around; each gives `modicum.fusion.Recordings`.

Pickles are read by `modicum.core.safeload` alone. Streams are called text, audio and video in all formats that have
these three. Nothing is normalised: statistics belong to training, and to its own split.
"""

from __future__ import annotations

from modicum.fusion.readers.avec import read_avec
from modicum.fusion.readers.ces import CesSequence, read_ces
from modicum.fusion.readers.csd import Csd, Timed, read_csd, write_csd
from modicum.fusion.readers.csd_folder import cut, read_csd_folder
from modicum.fusion.readers.misa import read_misa
from modicum.fusion.readers.mmsa import read_mmsa, read_text_bert
from modicum.fusion.readers.mosi import read_mosi, windows
from modicum.fusion.readers.motions import read_motions
from modicum.fusion.readers.mult import read_mult
from modicum.fusion.readers.opening import Opened, open_recordings
from modicum.fusion.readers.released import read_released

__all__ = [
    "CesSequence",
    "Csd",
    "Opened",
    "Timed",
    "cut",
    "open_recordings",
    "read_avec",
    "read_ces",
    "read_csd",
    "read_csd_folder",
    "read_misa",
    "read_mmsa",
    "read_mosi",
    "read_motions",
    "read_mult",
    "read_released",
    "read_text_bert",
    "windows",
    "write_csd",
]

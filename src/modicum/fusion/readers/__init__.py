"""Readers of the files in which multimodal data are passed around; each gives `modicum.fusion.Recordings`.

Pickles are read by `modicum.core.safeload` alone. Streams are called text, audio and video in all formats that have
these three. Nothing is normalised: statistics belong to training, and to its own split.
"""

from __future__ import annotations

from modicum.fusion.readers.avec import read_avec as read_avec
from modicum.fusion.readers.ces import CesSequence as CesSequence
from modicum.fusion.readers.ces import read_ces as read_ces
from modicum.fusion.readers.csd import Csd as Csd
from modicum.fusion.readers.csd import Timed as Timed
from modicum.fusion.readers.csd import read_csd as read_csd
from modicum.fusion.readers.csd import write_csd as write_csd
from modicum.fusion.readers.csd_folder import cut as cut
from modicum.fusion.readers.csd_folder import read_csd_folder as read_csd_folder
from modicum.fusion.readers.misa import read_misa as read_misa
from modicum.fusion.readers.mmsa import read_mmsa as read_mmsa
from modicum.fusion.readers.mmsa import read_text_bert as read_text_bert
from modicum.fusion.readers.mosi import read_mosi as read_mosi
from modicum.fusion.readers.mosi import windows as windows
from modicum.fusion.readers.motions import read_motions as read_motions
from modicum.fusion.readers.mult import read_mult as read_mult
from modicum.fusion.readers.opening import Opened as Opened
from modicum.fusion.readers.opening import open_recordings as open_recordings
from modicum.fusion.readers.released import read_released as read_released

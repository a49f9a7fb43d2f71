"""Readers of the files in which multimodal data are passed around; each gives `modicum.fusion.Recordings`.

Pickles are read by `modicum.core.safeload` alone. Streams are called text, audio and video in all formats that have
these three. Nothing is normalised: statistics belong to training, and to its own split.
"""

from __future__ import annotations

from modicum.fusion.readers.catalogue import read_ces as read_ces
from modicum.fusion.readers.catalogue import read_mosi as read_mosi
from modicum.fusion.readers.catalogue import read_motions as read_motions
from modicum.fusion.readers.opening import open_recordings as open_recordings

from .configuration import CubeMLPConfig as CubeMLPConfig
from .configuration import Stream as Stream
from .mixer import CubeMLP as CubeMLP
from .recordings import Ragged as Ragged
from .recordings import Recordings as Recordings

from .cramped_room import CrampedRoom as CrampedRoom
from .functional import is_class_independent as is_class_independent
from .losses import PeerLoss as PeerLoss
from .losses import XiSchedule as XiSchedule

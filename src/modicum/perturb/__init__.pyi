from .callback import HyPeCallback as HyPeCallback
from .configuration import HyPeConfig as HyPeConfig
from .hook import GradientChange as GradientChange
from .hook import HyPe as HyPe
from .hook import gradient_change as gradient_change

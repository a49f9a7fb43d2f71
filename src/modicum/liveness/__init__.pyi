from .configuration import FGHVConfig as FGHVConfig
from .detector import CalibrationReport as CalibrationReport
from .detector import LivenessDetector as LivenessDetector
from .detector import LivenessResult as LivenessResult
from .modeling import FGHVForLiveness as FGHVForLiveness

from .classifier import ZeroShotClassifier as ZeroShotClassifier
from .configuration import FitSettings as FitSettings
from .configuration import MineSettings as MineSettings
from .index import CorpusIndex as CorpusIndex
from .mining import MinedSet as MinedSet
from .multitask import MultiTaskGoTuner as MultiTaskGoTuner
from .task import Task as Task
from .tuner import GoTuner as GoTuner

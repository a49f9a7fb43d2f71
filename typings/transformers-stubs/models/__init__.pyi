# transformers imports all of its 550 models here for type checkers, which then read them all: half of pyright's time.
# These are those that modicum, its examples and its benchmarks name; a new one is added here.
from .auto import *
from .bert import *
from .mobilenet_v2 import *
from .resnet import *
from .vit import *
from .xlm_roberta import *

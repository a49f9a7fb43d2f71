from .optimizer import NSGD as NSGD

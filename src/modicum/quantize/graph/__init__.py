"""A network as a list of few kinds of operations: what is quantized, certified and run on integers."""

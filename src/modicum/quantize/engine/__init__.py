"""The integer engine: a quantized network as whole numbers and shifts, run by C, numba or numpy alike."""

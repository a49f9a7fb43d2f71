"""The integer engine: a quantized network as integers and shifts, run by C, numba or numpy alike."""

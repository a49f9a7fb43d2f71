"""The integer engine: a quantized network as integers and shifts, run by C or numpy alike."""

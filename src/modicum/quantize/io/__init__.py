"""Files of a quantized network and of its images."""

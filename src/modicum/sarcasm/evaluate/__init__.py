"""How good predictions are, and how far one comes without reading."""

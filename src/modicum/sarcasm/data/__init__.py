"""Texts with labels: the users' files, the shared task's, and what is done to both before a model sees them."""

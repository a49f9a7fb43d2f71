"""The report of a comparison: as data, on a terminal, as Markdown and as one HTML file."""

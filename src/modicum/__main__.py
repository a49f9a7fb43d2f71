"""``python -m modicum``."""

from modicum.cli.main import run

if __name__ == "__main__":
    run()

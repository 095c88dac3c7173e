"""`python -m memformer`."""

from memformer.cli import app

if __name__ == "__main__":
    app()

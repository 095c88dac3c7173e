"""`python -m memformer`."""

from memformer.cli import app

app()

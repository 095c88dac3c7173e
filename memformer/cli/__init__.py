"""The command line `memformer`."""

from memformer.cli.verbs import app as app

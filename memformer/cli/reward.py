"""The verbs of `memformer reward`."""

import typer

from memformer.cli.chain import use_chain
from memformer.cli.goodhart import goodhart_lab
from memformer.cli.raters import fit_ratings
from memformer.cli.review import review_novels
from memformer.cli.tune import tune_generator

reward = typer.Typer(no_args_is_help=True, help="A loss from reviews and ratings.")

reward.command("review")(review_novels)
reward.command("raters")(fit_ratings)
reward.command("chain")(use_chain)
reward.command("tune")(tune_generator)
reward.command("goodhart")(goodhart_lab)

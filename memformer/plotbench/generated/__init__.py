"""Judging what a model writes in a simulated world: texts, assertions, verdicts, rates, validity.

`docs/plotbench-generated.md` says what the numbers mean.
"""

"""Simulated readers whose judgement is known."""

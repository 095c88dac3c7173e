"""Ratings that people gave: importing and agreement."""

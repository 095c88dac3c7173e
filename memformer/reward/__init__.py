"""A loss for a good novel, learned from reviews and ratings."""

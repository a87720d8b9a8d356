"""A score of one condition against whether it is there: what clinical prediction models are judged by."""

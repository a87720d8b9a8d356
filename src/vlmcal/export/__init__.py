"""Trained classifiers in forms that other programs can use."""

"""Fit every method, cross-validate, measure, choose: for predictions, confidences and sets."""

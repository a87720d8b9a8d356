"""Prediction sets and selective prediction with finite-sample guarantees."""

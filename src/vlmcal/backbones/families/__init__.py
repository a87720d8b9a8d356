"""Layouts in which dual encoders are published: how each is recognised and read."""

"""Mirrors of finished runs in experiment trackers; the store stays the record."""

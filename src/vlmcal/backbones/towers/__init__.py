"""Image and text towers as small modules of their own, filled from weights of any published layout."""

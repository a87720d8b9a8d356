"""Published results as data, and what is measured here beside them."""

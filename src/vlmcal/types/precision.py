"""In which numbers the frozen towers compute while something is learned beside them."""

from typing import Literal

Precision = Literal["off", "tf32", "bfloat16", "float16"]
"""``off`` computes in the type of the weights, ``tf32`` in float32 whose products a GPU may round to 10 bits
of mantissa; the others are autocast of a tower's blocks."""

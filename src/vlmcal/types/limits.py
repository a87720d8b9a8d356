"""Numbers within limits, as the types of options, which :mod:`vlmcal.options` checks."""

from typing import Annotated

from pydantic import Field

MANY = 1_000_000  # what anything is counted to; more is a slip, and would fill the memory
Count = Annotated[int, Field(ge=1, le=MANY)]
Whole = Annotated[int, Field(ge=0, le=MANY)]
Tokens = Annotated[int, Field(ge=0, le=1000)]  # learned beside those of an image
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what every generator takes
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Divisor = Annotated[float, Field(ge=1e-6)]
Part = Annotated[float, Field(gt=0, le=1)]  # a share of what is there
Share = Annotated[float, Field(ge=0, le=1)]
# What an exact probability of 0 stands for where its logarithm is needed.
Zero = Annotated[float, Field(gt=0, lt=1)]
# Without its ends: a level, a target risk.
Fraction = Annotated[float, Field(gt=0, lt=1)]

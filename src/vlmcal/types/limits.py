"""Numbers within limits, as the types of options, which :mod:`vlmcal.options` checks."""

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
# Without its ends: a level, a target risk.
Fraction = Annotated[float, Field(gt=0, lt=1)]

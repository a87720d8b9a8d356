"""Ways of tuning a frozen vision-language model."""

from vlmcal._lazy import lazy

lazy(__name__)

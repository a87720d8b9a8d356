"""Review: what people decide about the answers of a model, recorded so that it can be believed."""

from vlmcal._lazy import lazy

lazy(__name__)

"""Questions about images: the layouts of published data sets, and a plain manifest."""

from vlmcal._lazy import lazy

lazy(__name__)

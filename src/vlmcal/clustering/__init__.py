"""Groups of unlabelled images on frozen features, with confidences that mean something."""

from vlmcal._lazy import lazy

lazy(__name__)

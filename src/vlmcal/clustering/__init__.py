"""Groups of unlabelled images on frozen features, with confidences that mean something."""

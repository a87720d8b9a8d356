"""How far image features fill their space: the second term of CaRot's bound."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import metric
from vlmcal.metrics.prompt_analysis import unit_rows


@metric(
    name="smallest_singular_value",
    higher_is_better=None,
    definition="Smallest singular value of (1 / N) sum_i f_i f_i' over the unit image features f_i (N, D) of "
    "the tuned model; 0 with fewer images than dimensions.",
    reference="CaRot, NeurIPS 2024, arXiv 2311.01723",
)
def smallest_singular_value(image_features: Any) -> float:
    """Smallest singular value of the second-moment matrix of unit image features.

    CaRot bounds classification and calibration error out of distribution by the calibration error in
    distribution (measure ``ece`` or ``brier`` beside it) and the inverse of this number, so that of two
    models with equal calibration the one with the larger value is bounded more tightly.

    Args:
        image_features: (N, D), scaled to unit length here; images of the training distribution.

    Returns:
        A number in [0, 1 / D].

    Raises:
        DataError: Not two-dimensional, NaN, or a row of length 0.

    Source: Oh et al., "Towards calibrated robust fine-tuning of vision-language models", NeurIPS 2024,
    arXiv 2311.01723.

    Example:
        >>> round(smallest_singular_value([[1.0, 0.0], [0.0, 2.0], [0.0, 1.0]]), 4)
        0.3333
    """
    rows = unit_rows(image_features, where="image_features")
    values = np.linalg.eigvalsh(rows.T @ rows / len(rows))
    return float(max(values[0], 0.0))

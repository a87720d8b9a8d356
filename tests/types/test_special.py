import numpy as np
import pytest
from scipy import special as reference
from scipy.stats import binom

from vlmcal.types import special


def test_quantiles_of_shares_are_those_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(60):
        n = round(10 ** rng.uniform(0, 6))
        k = rng.integers(0, n, endpoint=True)
        for y in (1e-4, 0.025, 0.975):
            for a, b in ((k, n - k + 1), (k + 1, n - k), (k / 3, (n - k) / 3 + 1)):
                if min(a, b) > 0:
                    found = special.betaincinv(a, b, y)
                    np.testing.assert_allclose(found, reference.betaincinv(a, b, y), rtol=1e-8)
    many = special.betaincinv(np.arange(1.0, 101.0), 7.0, 0.3)
    np.testing.assert_allclose(
        many[:5], [special.betaincinv(a, 7.0, 0.3) for a in range(1, 6)], rtol=1e-12
    )


def test_quantiles_of_counts_are_those_of_scipy():
    rng = np.random.default_rng(1)
    for _ in range(300):
        n, p = round(10 ** rng.uniform(0, 5)), rng.random() ** rng.choice([0.1, 1, 5])
        for y in (0.025, 0.5, 0.975):
            assert special.bdtrk(y, n, p) == binom.ppf(y, n, p)
    assert special.bdtrk(0.975, 5.0, 1 - 1e-12) == 5


@pytest.mark.parametrize("size", [3, 5000])
def test_logarithms_of_factorials(size):
    x = np.linspace(0.01, 1e6, size)
    np.testing.assert_allclose(special.gammaln(x), reference.gammaln(x), rtol=1e-13)

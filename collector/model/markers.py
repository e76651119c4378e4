"""NaNs that mean something. Compare their bits, never their values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The NaN that ends a series (prometheus/model/value/value.go, StaleNaN).
STALE_BITS = 0x7FF0000000000002
# Ours: no sample at this timestamp. Same class of signalling NaN, never accepted from outside nor sent there.
ABSENT_BITS = 0x7FF0000000000003
STALE = np.array([STALE_BITS], dtype=np.uint64).view(np.float64)[0]
ABSENT = np.array([ABSENT_BITS], dtype=np.uint64).view(np.float64)[0]


def is_stale(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.equal(values.view(np.uint64), np.uint64(STALE_BITS))


def is_absent(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.equal(values.view(np.uint64), np.uint64(ABSENT_BITS))

"""The arrays that evaluation works on, by their meaning."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.int64]  # Unix milliseconds
Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]

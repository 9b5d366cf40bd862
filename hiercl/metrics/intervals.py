"""How certain a mean of a few values is: Student's interval."""

from __future__ import annotations

import math

import numpy as np

from hiercl.runtime.types import Float


def t_interval(values: Float[np.ndarray, " n"], level: float = 0.95) -> tuple[float, float]:
    r"""Returns Student's interval of a mean.

    $$\bar x \pm t_{n-1,\,1-\alpha/2}\,\frac{\text{std}(x)}{\sqrt n}$$

    Source: Student 1908. For paired differences it is the interval of the paired t test. For normal values it covers
    the true mean exactly as often as it says, however few they are. So it needs no five seeds, but with two it is very
    wide, and of so few values nobody can see whether they are normal.

    Args:
        values: the values, one a seed.
        level: confidence level, between 0 and 1.

    Returns:
        Lower and upper end; NaN for one value, or for values without spread.

    Raises:
        ValueError: the level is not between 0 and 1.

    Example:
        >>> low, high = t_interval(np.array([0.9, 1.0, 1.1]))
        >>> round(low, 3), round(high, 3)
        (0.752, 1.248)
    """
    from scipy.special import stdtrit  # imported here, so that `import hiercl` stays fast

    error = standard_error(values, level)
    half = float(stdtrit(max(1, len(values) - 1), (1 + level) / 2)) * error
    return float(values.mean() - half), float(values.mean() + half)


def standard_error(values: Float[np.ndarray, " n"], level: float) -> float:
    """Returns the standard error of a mean; NaN for one value, or for values without spread."""
    if not 0 < level < 1:
        raise ValueError(f"level={level}: it must be a share, such as 0.95.")
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    alike = len(values) < 2 or deviation <= 1e-9 * abs(values).max()
    return math.nan if alike else deviation / math.sqrt(len(values))

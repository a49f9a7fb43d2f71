"""How numbers are printed: one place, so that a terminal, a page and a figure agree to the last digit."""

from __future__ import annotations

from modicum.core.method import Metric

ABSENT = "–"
ONE_SEED = "one seed"


def plain(value: float, digits: int) -> str:
    """Print a number with thousands separated, a true minus, and no minus before a rounded zero."""
    return f"{value:z,.{digits}f}".replace("-", "−")


def signed(value: float, digits: int) -> str:
    """Print a difference with its sign."""
    # A sign survives rounding: it tells on which side of zero an interval that ends at 0.000 really ends.
    return plain(0.0, digits) if value == 0 else f"{value:+,.{digits}f}".replace("-", "−")


def quantity(value: float, metric: Metric) -> str:
    """Print a value of a metric with its unit: "91.2 %"."""
    return unit(plain(value, metric.digits), metric.unit)


def change(value: float, metric: Metric) -> str:
    """Print a difference with sign and unit; differences of percentages are in points: "+1.2 points"."""
    return unit(signed(value, metric.digits), "points" if metric.unit == "%" else metric.unit)


def unit(number: str, of: str) -> str:
    """Put a unit behind a number, if there is one."""
    return f"{number} {of}" if of else number


def spread(mean: float, deviation: float | None, digits: int) -> str:
    """Print a mean and the standard deviation over seeds: "0.912 ± 0.004"."""
    return plain(mean, digits) if deviation is None else f"{plain(mean, digits)} ± {plain(deviation, digits)}"


def interval(low: float | None, high: float | None, digits: int) -> str:
    """Print the two ends of an interval: "−0.003 to +0.021"."""
    return ONE_SEED if low is None or high is None else f"{signed(low, digits)} to {signed(high, digits)}"


def p_value(p: float | None) -> str:
    """Print a p-value: "p = 0.25", "p < 0.001"."""
    if p is None:
        return ONE_SEED
    # The smallest p-value of five pairs is 0.0625, which should be recognisable.
    return "p < 0.001" if p < 0.001 else f"p = {round(p, 4):.3g}"


def ratio(value: float, baseline: float) -> str:
    """Print a cost as a multiple of the baseline's: "1.3 ×"."""
    if baseline <= 0:
        return ABSENT
    return f"{value / baseline:.2f} ×" if value < 9.995 * baseline else f"{value / baseline:,.0f} ×"


def seconds(value: float) -> str:
    """Print a duration: "42 ms", "0.42 s", "4.2 s", "12 s", "3 min 5 s", "2 h 10 min"."""
    if value < 0.0995:
        return f"{value * 1000:.2g} ms" if value else "0 s"
    if value < 9.95:
        return f"{value:.2f} s" if value < 0.995 else f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(value / 60)
    return f"{minutes // 60:,} h {minutes % 60} min"


def memory(mebibytes: float) -> str:
    """Print an amount of memory: "1,234 MiB"."""
    return f"{mebibytes:,.0f} MiB"

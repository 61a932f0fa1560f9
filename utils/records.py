"""What a run writes into its notebook beside what people see, so that any executed copy can be read back.

Knows: the types of the records, and how a measurement reads. Doesn't know: what is recorded (claims.py, data.py).
"""

import math

CLAIM = "application/vnd.book.claim+json"
DATA = "application/vnd.book.data+json"


SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(x, digits=4):
    """x as people read it, with that many digits at least: 1,234,568; 12.35; 0.0123; 1.2×10⁻⁷."""
    if math.isfinite(x) and 10**digits <= abs(x) < 1e9:
        return f"{x:,.0f}"
    mantissa, _, exponent = f"{x:.{digits}g}".partition("e")
    return f"{mantissa}×10{str(int(exponent)).translate(SUPERSCRIPT)}" if exponent else mantissa


def describe(measurement):
    """(value, spread) of a claim's measurement, as text: {"value": x} or one with values, mean, sd and n over seeds."""
    if "value" in measurement:
        value = measurement["value"]
        return (value if isinstance(value, str) else number(value)), ""
    mean, values = number(measurement["mean"]), measurement["values"]
    if measurement["n"] == 1:
        return mean, ""
    spread = f"{number(measurement['sd'], 2)} (from {number(min(values))} to {number(max(values))})"
    return mean, f" ±\u00a0{spread}"

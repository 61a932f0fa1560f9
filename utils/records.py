"""What a run writes into its notebook beside what people see, so that any executed copy can be read back.

Knows: the types of the records, and how a measurement reads. Doesn't know: what is recorded (claims.py, data.py).
"""

CLAIM = "application/vnd.book.claim+json"
DATA = "application/vnd.book.data+json"


def describe(measurement):
    """(value, spread) of a claim's measurement, as text: {"value": x} or one with values, mean, sd and n over seeds."""
    if "value" in measurement:
        value = measurement["value"]
        return (value if isinstance(value, str) else f"{value:.4g}"), ""
    mean, values = f"{measurement['mean']:.4g}", measurement["values"]
    if measurement["n"] == 1:
        return mean, ""
    return mean, f" ± {measurement['sd']:.2g} (from {min(values):.4g} to {max(values):.4g})"

"""What a run writes into its notebook beside what people see, so that any executed copy can be read back.

Knows: the types of the records, and how a measurement reads. Doesn't know: what is recorded (claims.py, data.py).
"""

import math

CLAIM = "application/vnd.book.claim+json"
DATA = "application/vnd.book.data+json"
MINUS, NO_BREAK = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(x, digits=4, zeros=False):
    """x as people read it, an integer whole, else with that many digits at least: 1,234,568; 12.35; 0.012; 1.2·10⁻⁷.

    zeros: whether those at the end, which say how exact it is, stay: 0.590.
    """
    if isinstance(x, int) or math.isfinite(x) and 10 ** (digits - 1) <= abs(x) < 1e9:
        return f"{x:,.0f}".replace("-", MINUS)
    mantissa, _, exponent = f"{x:{'#' if zeros and x else ''}.{digits}g}".partition("e")
    power = f"·10{str(int(exponent)).translate(SUPERSCRIPT)}" if exponent else ""
    return mantissa.replace("-", MINUS) + power


def signed(x, digits=3):
    """A difference x with its sign and that many digits after the point: +0.034; −0.012; 0.000 has none."""
    text = f"{x:+.{digits}f}"
    return text.replace("-", MINUS) if float(text) else text[1:]


def describe(measurement):
    """(value, spread) of a claim's measurement, as text: {"value": x} or one with values, mean, sd and n over seeds."""
    if "value" in measurement:
        value = measurement["value"]
        return (value if isinstance(value, str) else number(value)), ""
    mean, sd, values = measurement["mean"], measurement["sd"], measurement["values"]
    if measurement["n"] == 1:
        return number(mean), ""
    if sd == 0:
        return number(mean), " in every seed"
    shown, low, high = (number(x, _digits(x, sd), zeros=True) for x in (mean, min(values), max(values)))
    return shown, f"{NO_BREAK}±{NO_BREAK}{number(sd, 2, zeros=True)} (from{NO_BREAK}{low} to{NO_BREAK}{high})"


def readable(name):
    """The name of a measurement as people read it."""
    return typeset(name.replace("_", " "))


def typeset(sentence):
    """A sentence with the apostrophes of print; whoever shows Markdown does the same for prose."""
    return sentence.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")


def _digits(x, sd):
    """Significant digits of x, two to four, down to the second one of its standard deviation."""
    if x == 0 or not math.isfinite(x + sd):
        return 4
    return min(max(math.floor(math.log10(abs(x))) - math.floor(math.log10(sd)) + 2, 2), 4)

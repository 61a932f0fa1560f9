"""Claims that the run checks, and sentences that carry its numbers.

Knows: how to show a claim with what was measured, and how to leave a record of it in the cell's output,
so that any executed copy of a notebook can be read back. Doesn't know: whether a claim is interesting, or
how its numbers were measured; that is written in the chapter, next to the claim.
"""

import html
import statistics
from numbers import Real

import torch
from IPython.display import Markdown, display
from scipy.special import stdtrit

from utils.records import CLAIM, NO_BREAK, describe, readable, signed, typeset
from utils.train import device_name, strict

# What a chapter says beside its first comparison: the words of `relation`
CLEAR = (
    "Clear is a difference that chance alone would make as large in fewer than 5% of such comparisons, by a paired "
    "t-test over the seeds."
)


class ClaimError(AssertionError):
    """A claim of the book that its own run refutes."""


def claim(sentence, holds, *, data=None, **measured):
    """Show `sentence` with a mark, what was measured and over how many seeds; record it in the output.

    holds: bool (also a 0-d tensor or NumPy bool): the sentence, as computed from the measurements.
    data: the Dataset the numbers come from, or its name; None for a claim that needs no data.
    measured: numbers or strings; a sequence (list, tuple, 1-d array or tensor) holds one value per seed.
    In the book's own run a claim that doesn't hold raises ClaimError; in a reader's rerun it is shown as not
    holding, and the notebook goes on. Raises TypeError if `holds` is no truth value, or a measurement no number.
    """
    sentence, holds = typeset(sentence), _truth(holds)
    measured = [(name, _summary(name, value)) for name, value in measured.items()]
    record = {
        "claim": sentence,
        "holds": holds,
        "measured": measured,  # pairs: a notebook's file sorts the keys of what would be a dict
        "data": getattr(data, "name", data),
        "seeds": max((m["n"] for _, m in measured if "n" in m), default=None),
        "device": device_name(),
        "torch": torch.__version__,
    }
    text = f"{'holds' if holds else 'DOES NOT HOLD'}: {sentence}"
    shown = [f"{readable(name)}: {''.join(describe(m))}" for name, m in measured]
    seeds = f"{record['seeds']} seeds" if record["seeds"] else None
    context = ", ".join(filter(None, [seeds, record["data"], record["device"]]))
    plain = "\n".join([text, *shown, f"({context})"])
    display({CLAIM: record, "text/html": _html(holds, sentence, shown, context), "text/plain": plain}, raw=True)
    if strict() and not holds:
        raise ClaimError(plain)


def say(text):
    """Prose that carries a measured number: Markdown, printed by the cell that measured it."""
    display(Markdown(text))


def compared(a, b, more="higher", less="lower"):
    """How `a` stands to `b`, one value per seed each, as a word and numbers: "higher (+0.034 ± 0.005)".

    The word is that of `relation`. The numbers are the mean difference and its standard error, the standard deviation
    over the seeds divided by the root of their number.
    """
    mean, error = _difference(a, b)
    return f"{relation(a, b, more, less)} ({signed(mean)}{NO_BREAK}±{NO_BREAK}{error:.3f})"


def relation(a, b, more="higher", less="lower"):
    """The word for how `a` stands to `b`: `more`, `less`, or "not clearly different", which chance may be the cause of.

    a, b: sequences of equal length, entry i of both from the same seed. Clear is what a paired t-test finds, p < 0.05:
    with three seeds a mean difference above 4.3 of its standard errors, with twenty above 2.1, with one seed none.
    """
    mean, error = _difference(a, b)
    clear = abs(mean) > stdtrit(len(a) - 1, 0.975) * error
    return (more if mean > 0 else less) if clear else "not clearly different"


def _difference(a, b):
    """The mean difference over the seeds, and its standard error."""
    difference = torch.as_tensor(a, dtype=torch.float64) - torch.as_tensor(b, dtype=torch.float64)
    return difference.mean().item(), difference.std().item() / len(difference) ** 0.5


def _truth(holds):
    if isinstance(holds, (torch.Tensor,)) or type(holds).__module__ == "numpy":
        holds = holds.item()
    if not isinstance(holds, bool):
        raise TypeError(f"claim(sentence, holds): holds must be True or False, not {holds!r}; write the comparison out")
    return holds


def _summary(name, value):
    """A measurement as it is recorded: one value, or one per seed with mean and standard deviation."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (Real, str)):
        return {"value": value}
    values = [v.item() if hasattr(v, "item") else v for v in value] if isinstance(value, (list, tuple)) else None
    if not values or not all(isinstance(v, Real) for v in values):
        raise TypeError(f"claim: {name} must be a number, a string or a sequence of numbers, not {value!r}")
    sd = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"values": values, "mean": statistics.fmean(values), "sd": sd, "n": len(values)}


def _html(holds, sentence, shown, context):
    mark, colour, label = ("✓", "#1a7f4b", "holds") if holds else ("✗", "#c0392b", "does not hold")
    rows = "".join(f"<li>{html.escape(row)}</li>" for row in shown)
    return (
        f'<div class="claim {"holds" if holds else "fails"}" style="border-left:4px solid {colour};padding:.3em .8em">'
        f'<strong style="color:{colour}" role="img" aria-label="{label}">{mark}</strong> {html.escape(sentence)}'
        f'<ul style="margin:.2em 0;font-size:.9em">{rows}</ul>'
        f"<small>checked by this run: {html.escape(context)}</small></div>"
    )

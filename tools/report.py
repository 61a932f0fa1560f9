"""What the report of a folder of reruns shows: claims counted, measures drawn. Its notebook imports this.

Knows: how to count and draw what is in the table. Doesn't know: where the table comes from (results.py).
"""

import math
from html import escape

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, Markdown, display
from scipy.stats import binomtest

from utils import figures
from utils.records import readable


def current(runs):
    """The finished runs of each notebook's newest code: what the report counts."""
    return runs[(runs.status == "finished") & _newest(runs)]


def _newest(runs):
    """Which runs are of their notebook's newest code."""
    return runs.code == runs.groupby("notebook")["code"].transform("last")


def varied(runs):
    """The parameters that these runs give more than one value."""
    return [name for name in runs.attrs["parameters"] if runs[name].nunique() > 1]


def held(runs, claim):
    """In how many runs a claim held: (k, n, low, high), with the 95% interval of Wilson (1927) for its probability."""
    outcomes = runs[claim].dropna().astype(bool)
    interval = binomtest(int(outcomes.sum()), len(outcomes)).proportion_ci(method="wilson")
    return int(outcomes.sum()), len(outcomes), interval.low, interval.high


def overview(runs):
    """Show which runs there are, on what they ran, and which failed."""
    counted = current(runs)
    display(Markdown(f"# {len(runs)} reruns of {', '.join(runs.notebook.unique())}"))
    columns = {"Budget": "budget", "Data": "data", "Device": "device", "torch": "torch", "Python": "python"}
    facts = {name: ", ".join(map(str, counted[column].dropna().unique())) for name, column in columns.items()}
    facts["Varied"] = "; ".join(f"{p}: {', '.join(map(str, _values(counted, p)))}" for p in varied(counted))
    if len(counted):
        facts["Time"] = f"{counted.seconds.sum() / 60:.1f} minutes in all, {counted.seconds.mean():.1f} s a run"
    display(HTML(_table([], [[f"<b>{name}</b>", escape(text)] for name, text in facts.items() if text])))
    if old := int((runs.status == "finished").sum()) - len(counted):
        display(Markdown(f"{old} runs of an earlier version of the code are in the table and not counted here."))
    failed = runs[(runs.status == "failed") & _newest(runs)]
    if len(failed):
        display(Markdown("These runs failed, and are not counted here:"))
        names = varied(runs)
        rows = [
            [escape(f"{name} {run[name]}") for name in names] + [f"{_link(run.path, run.run)}: {escape(run.error)}"]
            for _, run in failed.iterrows()
        ]
        display(HTML(_table([], rows)))


def claims(runs):
    """Show, for each claim, in how many runs it held, and by each parameter that was varied."""
    for notebook, own in current(runs).groupby("notebook"):
        sentences = runs.attrs["claims"][notebook]
        rows = [[escape(sentence), *_held_cells(own, claim)] for claim, sentence in sentences.items()]
        display(Markdown(f"### {notebook}"))
        display(HTML(_table(["Claim", "Held in", "95% interval (Wilson)"], rows)))
        for parameter in varied(own):
            groups = {value: own[own[parameter] == value] for value in _values(own, parameter)}
            if len(groups) == len(own):
                continue  # a run each: there is nothing to count
            heads = [f"{parameter} {value}" for value in groups]
            rows = [
                [escape(sentence), *(_held_cells(group, claim)[0] for group in groups.values())]
                for claim, sentence in sentences.items()
            ]
            display(HTML(_table(["Claim", *heads], rows)))


def measures(runs):
    """Show every number that differs between the runs, over each parameter that was varied."""
    for notebook, own in current(runs).groupby("notebook"):
        for claim, sentence in runs.attrs["claims"][notebook].items():
            columns = [
                column
                for column in own.columns
                if column.startswith(f"{claim}: ") and not column.endswith(" sd") and own[column].nunique() > 1
            ]
            numeric = [column for column in columns if pd.api.types.is_numeric_dtype(own[column])]
            for parameter in _conditions(own) or varied(own) if numeric else []:
                alt = f"Over {parameter}, mean of the runs"
                for label, part in _lines(own, parameter).items():
                    means = part.groupby(parameter)[numeric].mean()
                    alt += f"; {label or 'all'}: {means.round(4).to_dict('list')} at {list(means.index)}"
                figures.show(plot(own, numeric, parameter), alt=alt, caption=f"{sentence} ({notebook}, {claim})")


def _conditions(runs):
    """The parameters that were varied, but for the seed, which only repeats."""
    return [name for name in varied(runs) if name != "first_seed"]


def _others(runs, parameter):
    """The conditions but for this parameter."""
    return [name for name in _conditions(runs) if name != parameter]


def _lines(runs, parameter):
    """{label: runs}: those that a line joins over a parameter, each combination of the others' values one line; all of
    them in one, {"": runs}, if that were more lines than colours."""
    others = _others(runs, parameter)
    lines = {_label(others, key): own for key, own in runs.groupby(others)} if others else {"": runs}
    return lines if len(lines) <= len(figures.COLOURS) else {"": runs}


def plot(runs, columns, parameter):
    """A figure with a panel for each of these columns of the table, over a parameter.

    A dot is a run; a line joins the means of the runs at a value, the bars are one standard deviation: of the runs, or
    where there is one run only, of the seeds within it. Where other parameters were varied too, each combination of
    their values has a line, unless there are more than colours: then means and bars are over all of them, and the
    figure's title says so.
    """
    down = math.ceil(len(columns) / 3)
    figure, axes = plt.subplots(down, 3, figsize=(9.6, 2.6 * down), squeeze=False, layout="tight")
    values = _values(runs, parameter)
    numeric = pd.api.types.is_numeric_dtype(runs[parameter]) and not pd.api.types.is_bool_dtype(runs[parameter])
    places = values if numeric else list(range(len(values)))
    place = dict(zip(values, places, strict=True))
    lines, others = _lines(runs, parameter), _others(runs, parameter)
    if others and "" in lines:
        figure.suptitle(f"over all values of {', '.join(others)}", fontsize=10)
    for axis, column in zip(axes.flat, columns, strict=False):
        for (label, own), style in zip(lines.items(), plt.rcParams["axes.prop_cycle"], strict=False):
            mean, spread = statistics(own, column, parameter)
            axis.plot(own[parameter].map(place), own[column], **style | {"linestyle": ""}, alpha=0.35)
            at = [place[value] for value in mean.index]
            axis.errorbar(at, mean, spread, **style | {"marker": ""}, capsize=3, label=label)
        axis.set_title(readable(column.partition(": ")[2]), fontsize=10)
        axis.set_xlabel(parameter)
        if not numeric:
            axis.set_xticks(places, [str(value) for value in values])
        elif min(values) > 0 and max(values) >= 10 * min(values):
            axis.set_xscale("log")
            axis.minorticks_off()
            if len(values) <= 5:
                axis.set_xticks(values, [f"{value:g}" for value in values])
    if len(lines) > 1:
        axes.flat[0].legend(fontsize=9)
    for axis in axes.flat[len(columns) :]:
        axis.axis("off")
    return figure


def _label(names, values):
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))


def statistics(runs, column, parameter):
    """Mean and standard deviation of a column at each value of a parameter: two Series."""
    groups = runs.groupby(parameter)
    spread, within = groups[column].std(), f"{column} sd"  # missing where there is one run only
    if within in runs:
        spread = spread.fillna(groups[within].mean())
    return groups[column].mean(), spread.fillna(0)


def _values(runs, parameter):
    return sorted(runs[parameter].dropna().unique().tolist())


def _held_cells(runs, claim):
    if claim not in runs or runs[claim].isna().all():
        return ["not checked", ""]
    k, n, low, high = held(runs, claim)
    return [f"{k} of {n}", f"{100 * low:.0f} to {100 * high:.0f} %"]


def _link(path, text):
    return f'<a href="{escape(path)}">{escape(text)}</a>'


def _table(heads, rows):
    """An HTML table; heads: plain text, rows: HTML."""
    head = f"<thead><tr>{''.join(f'<th>{escape(text)}</th>' for text in heads)}</tr></thead>" if heads else ""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{head}<tbody>{body}</tbody></table>"

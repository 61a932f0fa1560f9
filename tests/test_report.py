"""Tests of tools.report: what a report draws is what the table holds."""

import pandas as pd
import pytest

from tools import report
from utils import figures


def table(**columns):
    runs = pd.DataFrame(columns)
    runs.attrs["parameters"] = [name for name in columns if ":" not in name]
    return runs


def drawn(figure):
    """[(x, y)] of the lines of the figure's first panel."""
    return [line.lines[0].get_data() for line in figure.axes[0].containers]


def test_seeds_are_repetitions_and_other_parameters_are_not():
    runs = table(
        lr=[0.1, 0.1, 0.2, 0.2] * 2,
        wide=[False] * 4 + [True] * 4,
        first_seed=[0, 1] * 4,
        **{"c: loss": [1.0, 3.0, 5.0, 5.0, 11.0, 13.0, 15.0, 15.0]},
    )
    figure = report.plot(runs, ["c: loss"], "lr")
    assert [(list(x), list(y)) for x, y in drawn(figure)] == [([0.1, 0.2], [2, 5]), ([0.1, 0.2], [12, 15])]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["wide False", "wide True"]
    assert len({line.lines[0].get_linestyle() for line in figure.axes[0].containers}) == 2  # told apart without colours
    mean, spread = report.statistics(runs[~runs.wide], "c: loss", "lr")
    assert list(mean) == [2, 5] and list(spread) == pytest.approx([2**0.5, 0])


def test_too_many_lines_become_one_that_says_so():
    many = list(range(len(figures.COLOURS) + 1))
    runs = table(lr=[0.1] * len(many) + [0.2] * len(many), width=many * 2, **{"c: loss": [float(n) for n in many * 2]})
    figure = report.plot(runs, ["c: loss"], "lr")
    assert len(drawn(figure)) == 1 and "over all values of width" in figure.get_suptitle()


def test_one_run_has_the_spread_of_its_seeds():
    runs = table(lr=[0.1, 0.2], **{"c: loss": [1.0, 2.0], "c: loss sd": [0.3, 0.4]})
    assert list(report.statistics(runs, "c: loss", "lr")[1]) == [0.3, 0.4]


def test_the_alt_text_tells_each_line(monkeypatch):
    runs = table(lr=[0.1, 0.2] * 2, wide=[False, False, True, True], **{"c: loss": [1.0, 2.0, 3.0, 4.0]})
    runs["notebook"], runs["code"], runs["status"] = "05-adam", "a", "finished"
    runs.attrs["claims"] = {"05-adam": {"c": "It falls."}}
    alts = []
    monkeypatch.setattr(figures, "show", lambda figure, alt, caption: alts.append(alt))
    report.measures(runs)
    assert "wide False: {'c: loss': [1.0, 2.0]} at [0.1, 0.2]; wide True: {'c: loss': [3.0, 4.0]}" in alts[0]

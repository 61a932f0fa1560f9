"""Claims: what is shown, what is recorded, and what happens to a false one."""

import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook, new_output
from scipy.stats import ttest_rel

from tools.notebooks import load, named_claims, read, write
from utils import claims, records


@pytest.fixture
def shown(monkeypatch):
    """The data of what was displayed, one dict per call."""
    calls = []
    monkeypatch.setattr(claims, "display", lambda data, raw=False: calls.append(data))
    monkeypatch.delenv("BOOK_STRICT", raising=False)
    return calls


def test_the_record_holds_all_that_was_measured(shown):
    claims.claim("a < b", True, data="shapes", loss=[1.0, 2.0, 4.0], bound=3, device_used="any")
    record = shown[0][claims.CLAIM]
    assert record["claim"] == "a < b" and record["holds"] is True
    assert (record["data"], record["seeds"], record["torch"]) == ("shapes", 3, torch.__version__)
    measured = dict(record["measured"])
    loss = measured["loss"]
    assert (loss["values"], loss["mean"], loss["n"]) == ([1.0, 2.0, 4.0], pytest.approx(7 / 3), 3)
    assert loss["sd"] == pytest.approx(torch.tensor([1.0, 2.0, 4.0]).std().item())
    assert measured["bound"] == {"value": 3}


def test_the_box_names_mark_spread_and_seeds(shown):
    claims.claim("a < b & c", True, loss=[1.0, 2.0])
    assert "✓" in shown[0]["text/html"] and "a &lt; b &amp; c" in shown[0]["text/html"]
    assert "1.50\xa0±\xa00.71 (from\xa01.00 to\xa02.00)" in shown[0]["text/html"] and "2 seeds" in shown[0]["text/html"]
    assert shown[0]["text/plain"].startswith("holds: a < b & c")


def test_apostrophes_are_those_of_print(shown):
    claims.claim("the net's loss isn't <1", True, **{"the_net's": 2})
    assert "the net’s loss isn’t &lt;1" in shown[0]["text/html"] and "the net’s: 2" in shown[0]["text/html"]
    assert "'" not in shown[0]["text/plain"] and shown[0][claims.CLAIM]["claim"] == "the net’s loss isn’t <1"


def test_a_false_claim_is_shown_in_a_reader_s_run_and_fails_the_book_s_own(shown, monkeypatch):
    claims.claim("pigs fly", False, height=0.1)
    assert "✗" in shown[0]["text/html"] and shown[0][claims.CLAIM]["holds"] is False
    monkeypatch.setenv("BOOK_STRICT", "1")
    with pytest.raises(claims.ClaimError, match="pigs fly\nheight: 0.1"):
        claims.claim("pigs fly", False, height=0.1)
    assert len(shown) == 2  # the box stands above the error


@pytest.mark.parametrize(
    "x, text",
    [(11689512, "11,689,512"), (15_470_264_320, "15,470,264,320"), (1e10, "1·10¹⁰"), (12345.6, "12,346")]
    + [(1234.56, "1,235"), (0.012346, "0.01235"), (-0.5, "−0.5"), (0, "0"), (1.23456e-7, "1.235·10⁻⁷")]
    + [(-4e12, "−4·10¹²"), (-7, "−7"), (-12345.6, "−12,346"), (True, "1")]
    + [(float("inf"), "inf"), (float("nan"), "nan")],
)
def test_numbers_read_as_people_write_them(x, text):
    assert records.number(x) == text


@pytest.mark.parametrize(
    "mean, sd, text",
    [(0.71234, 0.0123, "0.712 ± 0.012"), (0.71234, 0.123, "0.71 ± 0.12"), (1262.3, 34.4, "1,262 ± 34")]
    + [(0.034, 0.057, "0.034 ± 0.057"), (-0.0012, 0.016, "−0.0012 ± 0.016"), (99.7, 99.7, "100 ± 100")]
    + [(1.4712e-7, 3.8e-8, "1.47·10⁻⁷ ± 3.8·10⁻⁸"), (0.98123, 2.6e-5, "0.9812 ± 2.6·10⁻⁵")]
    + [(0.0, 0.1, "0 ± 0.10"), (0.59, 0.0254, "0.590 ± 0.025"), (float("inf"), float("nan"), "inf ± nan")],
)
def test_a_mean_has_the_digits_that_its_spread_lets_it_have(mean, sd, text):
    shown, spread = records.describe({"mean": mean, "sd": sd, "values": [mean, mean], "n": 2})
    low = text.partition(" ")[0]
    assert f"{shown}{spread}".replace(records.NO_BREAK, " ") == f"{text} (from {low} to {low})"


def test_differences_carry_their_sign():
    assert [records.signed(x) for x in (0.0341, -0.0119, 0.0)] == ["+0.034", "−0.012", "0.000"]
    assert records.signed(torch.tensor(-2.25), 1) == "−2.2"


@pytest.mark.parametrize("truth", [torch.tensor(True), np.bool_(True), np.array(True)])
def test_truth_may_come_from_an_array(shown, truth):
    claims.claim("so it is", truth)
    assert shown[0][claims.CLAIM]["holds"] is True


@pytest.mark.parametrize("not_truth", [0.93, "yes", None, torch.tensor(1.0)])
def test_what_is_no_truth_value_is_refused(shown, not_truth):
    with pytest.raises(TypeError, match="write the comparison out"):
        claims.claim("accuracy is good", not_truth)


@pytest.mark.parametrize("value", [torch.tensor([1.0, 2.0]), np.array([1.0, 2.0]), (1.0, torch.tensor(2.0))])
def test_values_over_seeds_may_be_any_sequence(shown, value):
    claims.claim("fine", True, value=value)
    [(_, measured)] = shown[0][claims.CLAIM]["measured"]
    assert measured["values"] == [1.0, 2.0]


@pytest.mark.parametrize("value", [[], {"a": 1}, None, ["a", "b"], [[1.0], [2.0]]])
def test_what_is_no_measurement_is_refused(shown, value):
    with pytest.raises(TypeError, match="loss must be a number, a string or a sequence of numbers"):
        claims.claim("fine", True, loss=value)


def test_measurements_keep_the_order_in_which_a_claim_names_them(shown, tmp_path):
    claims.claim("fine", True, of_the_net=3, length_1=[1.0, 2.0], length=2)
    cell = new_code_cell("", outputs=[new_output("display_data", data=shown[0])])
    write(new_notebook(cells=[cell]), tmp_path / "sorted.ipynb")
    for notebook in (read(tmp_path / "sorted.ipynb"), load(tmp_path / "sorted.ipynb")):
        [(_, _, record)] = named_claims(notebook)
        assert [name for name, _ in record["measured"]] == ["of_the_net", "length_1", "length"]


def test_where_all_seeds_agree_no_spread_is_shown(shown):
    claims.claim("fine", True, dead=[0.25, 0.25])
    assert "dead: 0.25 in every seed\n" in shown[0]["text/plain"]


@pytest.mark.parametrize(
    "a, text",
    [
        ([1, 2, 3], "not clearly different (+2.000 ± 0.577)"),  # 1/√3; t = 3.46, and 4.30 is the limit with three
        ([2, 3, 4], "higher (+3.000 ± 0.577)"),
        (torch.tensor([-2, -3, -4]), "lower (\N{MINUS SIGN}3.000 ± 0.577)"),
        ([1, 2, 3, 1, 2, 3], "higher (+2.000 ± 0.365)"),
        ([0, 1], "not clearly different (+0.500 ± 0.500)"),
    ],
)
def test_comparison_in_words(a, text):
    assert claims.compared(a, [0] * len(a)).replace(records.NO_BREAK, " ") == text


@pytest.mark.parametrize("seeds", [2, 3, 20])
def test_clear_is_what_a_paired_t_test_finds(seeds):
    draws = torch.Generator().manual_seed(seeds)
    found = []
    for _ in range(200):
        a, b = torch.randn(2, seeds, generator=draws, dtype=torch.float64)
        a += 2 * seeds**-0.5  # so that about half of them are clear
        found.append(claims.relation(a, b) != "not clearly different")
        assert found[-1] == (ttest_rel(a, b).pvalue < 0.05)
    assert 0 < sum(found) < 200

"""ResidualStack in a browser: singular values of long products against torch and mpmath, controls, both pictures."""

import re

import mpmath
import pytest
import torch

from tests.browser.conftest import bring_near
from tests.browser.pointer import drag, swipe
from tests.browser.tables import numbers
from utils.widgets.residual_stack import ResidualStack, _matrices

MATRICES = "(figure, count, seed) => figure.matrices(count, seed)"
SPECTRA = "(figure, factors) => figure.spectra(factors)"
RESIDUAL = "(figure, factors, s) => figure.spectra(factors.map(J => figure.residual(J, s)))"
I = torch.eye(16, dtype=torch.float64)  # noqa: E741, as in the text


@pytest.fixture
def figure(interactive):
    return interactive("stack")


def doubles(values):
    return torch.tensor(values, dtype=torch.float64)


def agrees(figure, depth, s, seed=1):
    """Whether the table shows, to its two digits, what Python computes, which is tested below, for these settings."""
    expected = {}
    for name, values in ResidualStack(depth=depth, branch_scale=s, seed=seed)._products().items():
        sigma = values[-1].tolist()
        expected[name.split()[0]] = pytest.approx([sigma[0], sigma[8], sigma[15], sigma[0] / sigma[15]], rel=0.051)
    return numbers(figure) == expected


def test_matrices_are_normal_and_the_same_in_python(exported):
    evaluate = exported("residual_stack")
    for seed in (1, 2, 10_000):
        J = doubles(evaluate(MATRICES, 64, seed))
        assert J.shape == (64, 16, 16)
        torch.testing.assert_close(_matrices(64, seed), J, rtol=1e-12, atol=1e-12)
        # 16,384 draws of standard deviation 1/4: five standard errors of a mean and of a standard deviation
        assert J.mean().abs() < 5 / 4 / 16384**0.5
        assert (4 * J.std() - 1).abs() < 5 / 32768**0.5


@pytest.mark.parametrize("s", [0.0, 0.125, 1.0, 1.5])
def test_singular_values_are_torchs(exported, s):
    evaluate, J = exported("residual_stack"), _matrices(64, 7)
    for factors, found in ((J, evaluate(SPECTRA, J.tolist())), (I + s * J, evaluate(RESIDUAL, J.tolist(), s))):
        found, product, inverse = doubles(found), I, I
        assert found.shape == (65, 16) and torch.equal(found[0], torch.ones_like(found[0]))
        # Rounding in a matrix of condition 1e4 costs about 1e-12; a wrong rotation or factor far more.
        for sigma, factor in zip(found[1:], factors, strict=True):
            product, inverse = factor @ product, inverse @ torch.linalg.inv(factor)
            assert sigma[0].item() == pytest.approx(torch.linalg.svdvals(product)[0].item(), rel=1e-9)
            assert 1 / sigma[-1].item() == pytest.approx(torch.linalg.svdvals(inverse)[0].item(), rel=1e-9)
        assert found[-1].log().sum().item() == pytest.approx(torch.linalg.slogdet(factors)[1].sum().item(), abs=1e-9)
        torch.testing.assert_close(found[1], torch.linalg.svdvals(factors[0]), rtol=1e-9, atol=0)


def test_no_singular_value_is_lost_in_rounding(exported):
    J = _matrices(64, 1)
    with mpmath.workdps(120):  # digits
        product = mpmath.eye(16)
        for factor in J:
            product = mpmath.matrix(factor.tolist()) * product
        exact = sorted((float(mpmath.log(sigma)) for sigma in mpmath.svd_r(product, compute_uv=False)), reverse=True)
    assert exact[-1] - exact[0] < -60 * 2.3, "the smallest is far below float64's 1e-16 of the largest"
    found = doubles(exported("residual_stack")(SPECTRA, J.tolist()))[-1].log()
    assert found.tolist() == pytest.approx(exact, abs=1e-9)
    assert ResidualStack(depth=64)._products()["plain product"][-1].log().tolist() == pytest.approx(exact, abs=1e-9)


def test_plain_singular_values_grow_at_the_rates_of_theory(exported):
    """Newman (1986): the k-th of n grows by exp((digamma((n - k + 1) / 2) + ln(2 / n)) / 2) per matrix."""
    evaluate, halves = exported("residual_stack"), torch.arange(16, 0, -1, dtype=torch.float64) / 2
    exponents = (torch.digamma(halves) + torch.tensor(2 / 16).log()) / 2
    stacks = [_matrices(64, seed).tolist() for seed in range(1, 9)]
    runs = torch.stack([doubles(evaluate(SPECTRA, stack))[-1].log() / 64 for stack in stacks])
    error = runs.std(0) / 8**0.5
    assert ((runs.mean(0) - exponents).abs() < 5 * error + 0.03).all()  # 0.03: what 64 factors are short of a limit


def test_first_picture_shows_the_values_that_python_set(figure):
    widget = ResidualStack()
    assert agrees(figure, widget.depth, widget.branch_scale, widget.seed)
    for name, sigma in widget._products().items():
        assert numbers(figure)[name.split()[0]][0] == pytest.approx(sigma[-1, 0].item(), rel=0.051)
        assert f"{sigma[-1, 0] / sigma[-1, -1]:.2g}" in widget.alt()
    assert figure.get_by_role("status").text_content().startswith("At depth 16 the largest singular value is 3.8·10¹⁵")


def test_keyboard_reaches_and_moves_everything(figure):
    picture = figure.locator("svg.spectra")
    for slider, key, settings in (
        ("depth", "End", (64, 0.25)),
        ("branch scale", "Home", (64, 0.0)),
        ("branch scale", "End", (64, 1.5)),
        ("depth", "Home", (1, 1.5)),
        ("depth", "ArrowRight", (2, 1.5)),
    ):
        before = picture.get_attribute("aria-label")
        figure.get_by_role("slider", name=slider).press(key)
        assert agrees(figure, *settings), settings
        assert picture.get_attribute("aria-label") != before
    for button, settings in (("s = 1/√L", (2, 2**-0.5)), ("s = 1", (2, 1.0)), ("New matrices", (2, 1.0, 2))):
        figure.get_by_role("button", name=button, exact=True).press("Enter")
        assert agrees(figure, *settings), settings
    assert figure.get_by_role("slider", name="branch scale").get_attribute("aria-valuetext") == "1.00"


def test_residual_spread_stays_bounded_at_the_scale_of_the_button_and_explodes_at_one(figure):
    ratios = {}
    for name in ("s = 1/√L", "s = 1"):
        for depth in ("Home", "End"):
            figure.get_by_role("slider", name="depth").press(depth)
            figure.get_by_role("button", name=name, exact=True).press("Enter")
            ratios[name, depth] = numbers(figure)["residual"][3]
    assert ratios["s = 1/√L", "End"] < 100 < 1e20 < ratios["s = 1", "End"]
    assert numbers(figure)["plain"][3] > 1e50


def test_mouse_moves_a_slider_and_the_picture_follows(figure):
    picture, slider = figure.locator("svg.spectra"), figure.get_by_role("slider", name="depth")
    bring_near(picture)
    pixels = picture.screenshot()
    drag(slider, 50, 0)
    depth = int(slider.input_value())
    assert depth > 16 and agrees(figure, depth, 0.25) and picture.screenshot() != pixels
    assert re.search(r"At depth (\d+)", figure.get_by_role("status").text_content())[1] == str(depth)


def test_finger_moves_a_slider(interactive):
    figure = interactive("stack", width=360, has_touch=True, is_mobile=True)
    slider = figure.get_by_role("slider", name="branch scale")
    bring_near(slider)
    scrolled = figure.page.evaluate("scrollY")
    swipe(slider, 40, 0)
    s = float(slider.input_value())
    assert s > 0.3 and agrees(figure, 16, s)
    assert figure.page.evaluate("scrollY") == scrolled

"""FineTuning in a browser: gradient descent against torch's autograd, mouse, touch, keyboard, playing a run."""

import math
import re

import pytest
import torch
from torch import nn

from tests.browser.conftest import bring_near
from tests.browser.pointer import drag, swipe
from tests.browser.tables import numbers
from utils.widgets.fine_tuning import FineTuning

TRUTH = torch.tensor([0.96, 0.72], dtype=torch.float64)
STARTS = [(-0.4, 0), (1.6, 0), (-2.0, 20), (2.0, -20), (0.0, 7), (-0.61, 0)]  # the last passes near the saddle


@pytest.fixture
def figure(interactive):
    return interactive("tuning")


def by_torch(head, angle, probe):
    """[v, b_1, b_2] after each of 0 to 200 steps of a linear net of two layers on data along the first input."""
    net = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    direction = math.atan2(0.45, 0.6) + math.radians(angle)
    with torch.no_grad():
        net[0].weight.copy_(0.75 * torch.tensor([[math.cos(direction), math.sin(direction)]], dtype=torch.float64))
        net[1].weight.fill_(head)
    # Inputs of mean square 1 along the first axis, and nothing along the second.
    x = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [1.4, 0.0], [-0.2, 0.0]], dtype=torch.float64)
    optimizer, states = torch.optim.SGD(net.parameters(), lr=0.25), []
    for step in range(201):
        states.append([net[1].weight.item(), *net[0].weight[0].tolist()])
        net[0].weight.requires_grad_(step >= probe)
        optimizer.zero_grad()
        ((net(x)[:, 0] - x @ TRUTH) ** 2 / 2).mean().backward()
        optimizer.step()
    return torch.tensor(states, dtype=torch.float64)


def agrees(figure, head, angle):
    """Whether the table shows, to its two digits, where torch's runs end."""
    expected = {}
    for name, probe in (("fine-tune", 0), ("probe first", 100)):
        state = by_torch(head, angle, probe)[-1]
        errors = (state[0] * state[1:] - TRUTH).abs()
        expected[name] = pytest.approx([*state.tolist(), *errors.tolist()], abs=5.1e-3)
    return numbers(figure) == expected


def head(figure):
    return float(figure.get_by_role("slider", name="head").input_value())


@pytest.mark.parametrize("probe", [0, 100])
@pytest.mark.parametrize(("start", "angle"), STARTS)
def test_runs_are_torchs(exported, start, angle, probe):
    evaluate = exported("fine_tuning")
    states = evaluate("(figure, ...run) => figure.descend(...run)", start, angle, probe)
    found = torch.tensor([[state["v"], *state["b"]] for state in states], dtype=torch.float64)
    expected = by_torch(start, angle, probe)
    # From v = -b_1, here -0.6, a run ends on the saddle v = b_1 = 0, and rounding decides whether and where it leaves.
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    weights = torch.tensor([state["w"] for state in states], dtype=torch.float64)
    torch.testing.assert_close(weights, found[:, :1] * found[:, 1:], rtol=1e-12, atol=1e-12)
    heads, features = FineTuning(head=start, angle=angle)._runs()["probe, then fine-tune" if probe else "fine-tune"]
    torch.testing.assert_close(torch.cat([heads[:, None], features], dim=1), expected, rtol=1e-9, atol=1e-9)
    turned = evaluate("(figure, a, b) => figure.turned(a, b)", states[0]["b"], states[-1]["b"])
    cosine = torch.nn.functional.cosine_similarity(expected[0, 1:], expected[-1, 1:], dim=0).clamp(-1, 1)
    assert math.cos(math.radians(turned)) == pytest.approx(cosine.item(), abs=1e-9)


@pytest.mark.parametrize("start", [-1.5, -0.4, 0.0, 0.5, 1.0])
def test_figure_shows_the_theorem(start):
    """b_2 stays; each step multiplies v² - b_1² by 1 - η² e²; off the data only the probed head is right."""
    tuned, probed = by_torch(start, 0, 0), by_torch(start, 0, 100)
    v, b_1, b_2 = tuned.T
    kept, e = v**2 - b_1**2, v * b_1 - 0.96
    torch.testing.assert_close(kept[1:], kept[:-1] * (1 - (0.25 * e[:-1]) ** 2), rtol=1e-9, atol=1e-12)
    assert (b_2 == b_2[0]).all() and e[-1].abs() < 1e-9
    assert abs(v[-1] * b_2[-1] - 0.72) > 0.15
    assert probed[-1].tolist() == pytest.approx([1.6, 0.6, 0.45], abs=2e-3)


def test_static_picture_and_figure_tell_the_same(figure):
    widget = FineTuning()
    assert agrees(figure, widget.head, widget.angle)
    for _, *state, on, off in zip(range(2), *zip(*numbers(figure).values(), strict=True), strict=True):
        v, b_1, b_2 = state
        assert f"head {v:.2f}, feature ({b_1:.2f}, {b_2:.2f})" in widget.alt()
        assert f"error {on:.2f} on the data and {off:.2f} off it" in widget.alt()


def test_mouse_drags_the_head_along_the_feature_and_everything_follows(figure):
    plane, knob = figure.locator("svg.plane"), figure.locator(".knob")
    bring_near(plane)
    pixels, status = plane.screenshot(), figure.get_by_role("status").text_content()
    drag(knob, 60, -45)
    assert head(figure) > 0.3 and agrees(figure, head(figure), 0)
    assert plane.screenshot() != pixels and figure.get_by_role("status").text_content() != status
    drag(knob, -500, 400)
    assert head(figure) == -2 and numbers(figure)["fine-tune"][1] < 0, "from far on the wrong side the feature flips"


def test_finger_drags_the_head(interactive):
    figure = interactive("tuning", width=360, has_touch=True, is_mobile=True)
    bring_near(figure.locator("svg.plane"))
    scrolled = figure.page.evaluate("scrollY")
    swipe(figure.locator(".knob"), 40, -30)
    assert head(figure) > 0.2 and agrees(figure, head(figure), 0)
    assert figure.page.evaluate("scrollY") == scrolled, "the page scrolled under the finger"


def test_keyboard_reaches_and_moves_everything(figure):
    for name, key, start, angle in (
        ("head", "ArrowRight", -0.39, 0),
        ("head", "End", 2, 0),
        ("feature off by", "Home", 2, -20),
        ("head", "Home", -2, -20),
    ):
        figure.get_by_role("slider", name=name).press(key)
        assert agrees(figure, start, angle)
    assert figure.get_by_role("slider", name="feature off by").get_attribute("aria-valuetext") == "−20°"
    figure.get_by_role("button", name="Reset").press("Enter")
    assert agrees(figure, -0.4, 0)


def test_buttons_play_a_run_where_motion_is_welcome(interactive):
    figure = interactive("tuning", reduced_motion="no-preference")
    curves = figure.locator("svg.errors")
    for button, name in (("Fine-tune", "fine-tune"), ("Probe, then fine-tune", "probe first")):
        figure.get_by_role("button", name=button, exact=True).click()
        step = f"Number(document.querySelector('svg.errors').ariaLabel.match(/{name}, step (\\d+)/)[1])"
        figure.page.wait_for_function(f"{step} > 3 && {step} < 180")
        figure.page.wait_for_function(f"{step} === 200")
    assert agrees(figure, -0.4, 0)
    figure.get_by_role("button", name="Fine-tune", exact=True).click()
    figure.get_by_role("slider", name="head").press("ArrowRight")
    figure.page.wait_for_timeout(300)
    assert agrees(figure, -0.39, 0), "moving the head stops what plays"
    assert re.findall(r"step (\d+)", curves.get_attribute("aria-label")) == ["200", "200"]

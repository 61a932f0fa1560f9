"""SoftmaxCrossEntropy in a browser: its mathematics against torch, mouse, keyboard, touch."""

import re

import pytest
import torch
import torch.nn.functional as F

from tests.browser.conftest import bring_near
from tests.browser.pointer import drag, middle, swipe
from utils.widgets.softmax_cross_entropy import SoftmaxCrossEntropy


@pytest.fixture
def figure(interactive):
    return interactive("softmax")


def logits(figure):
    return [float(slider.get_attribute("aria-valuenow")) for slider in figure.get_by_role("slider").all()[:4]]


def loss(figure):
    return float(figure.locator(".loss strong").text_content())


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize("classes", [2, 4, 7])
def test_mathematics_is_torchs(exported, scale, classes):
    functions = exported("softmax_cross_entropy")
    generator = torch.Generator().manual_seed(classes)
    z = (scale * torch.randn(classes, generator=generator, dtype=torch.float64)).requires_grad_()
    for target in range(classes):
        expected = F.cross_entropy(z[None], torch.tensor([target]))
        (slope,) = torch.autograd.grad(expected, z)
        numbers = z.tolist()
        close = {"rel": 1e-12, "abs": 1e-12}  # both compute in float64
        assert functions("(f, z) => f.softmax(z)", numbers) == pytest.approx(z.softmax(0).tolist(), **close)
        entropy = functions("(f, z, y) => f.crossEntropy(z, y)", numbers, target)
        assert entropy == pytest.approx(expected.item(), **close)
        gradient = functions("(f, z, y) => f.gradient(z, y)", numbers, target)
        assert gradient == pytest.approx(slope.tolist(), **close)
        step = functions("(f, z, y, eta) => f.descend(z, y, eta)", numbers, target, 0.7)
        assert step == pytest.approx((z - 0.7 * slope).tolist(), **close)


def test_first_picture_shows_the_values_that_python_set(figure):
    widget = SoftmaxCrossEntropy()
    assert logits(figure) == widget.logits
    expected = F.cross_entropy(torch.tensor([widget.logits]), torch.tensor([widget.target]))
    assert loss(figure) == pytest.approx(expected.item(), abs=5.1e-4)  # shown with three digits


def test_mouse_drags_a_logit_and_the_picture_follows(figure):
    picture = figure.locator("svg.bars")
    bring_near(picture)
    before, loss_before, pixels = logits(figure), loss(figure), picture.screenshot()
    knob = figure.get_by_role("slider", name="logit of cat").locator(".knob")
    x, y = middle(knob)
    drag(knob, 0, -40)
    assert logits(figure)[0] > before[0] + 1 and logits(figure)[1:] == before[1:]
    assert loss(figure) < loss_before - 0.5
    assert picture.screenshot() != pixels
    figure.page.mouse.move(x, y - 80)
    assert logits(figure)[0] < 5, "still dragging after the button was let go"


def test_finger_drags_a_logit(interactive):
    figure = interactive("softmax", width=360, has_touch=True, is_mobile=True)
    bring_near(figure.locator("svg.bars"))
    before, scrolled = logits(figure), figure.page.evaluate("scrollY")
    swipe(figure.get_by_role("slider", name="logit of dog").locator(".knob"), 0, 40)
    assert logits(figure)[1] < before[1] - 1
    assert figure.page.evaluate("scrollY") == scrolled, "the page scrolled under the finger"


def test_keyboard_reaches_and_moves_everything(figure):
    keyboard, slider = figure.page.keyboard, figure.get_by_role("slider", name="logit of dog")
    slider.focus()
    keys = {"ArrowUp": 3.1, "ArrowDown": 3.0, "PageDown": 2.0, "Home": -5.0, "End": 5.0, "ArrowRight": 5.0}
    for key, expected in keys.items():
        keyboard.press(key)
        assert logits(figure)[1] == pytest.approx(expected)
    assert re.fullmatch(r"5\.00, probability 0\.9\d", slider.get_attribute("aria-valuetext"))
    figure.get_by_role("radio", name="cat").focus()
    keyboard.press("ArrowRight")
    assert figure.get_by_role("radio", name="dog").is_checked()
    assert loss(figure) < 0.1
    figure.get_by_role("slider", name="step size").focus()
    keyboard.press("ArrowRight")
    assert figure.locator(".slider .shown").text_content() == "1.1"


def test_gradient_steps_do_what_torch_does(figure):
    widget = SoftmaxCrossEntropy()
    z = torch.tensor(widget.logits, dtype=torch.float64, requires_grad=True)
    losses = [loss(figure)]
    for _ in range(5):
        value = F.cross_entropy(z[None], torch.tensor([widget.target]))
        (slope,) = torch.autograd.grad(value, z)
        z = (z - widget.step_size * slope).detach().requires_grad_()
        figure.get_by_role("button", name="Gradient step").press("Enter")
        losses.append(loss(figure))
        assert logits(figure) == pytest.approx(z.tolist(), abs=5.1e-3)  # shown with two digits
    assert losses == sorted(losses, reverse=True)
    assert figure.get_by_role("status").text_content().startswith("Step 5: the loss goes from")
    figure.get_by_role("button", name="Reset").click()
    assert logits(figure) == widget.logits


def test_step_glides_where_motion_is_welcome(interactive):
    figure = interactive("softmax", reduced_motion="no-preference")
    start = logits(figure)[0]
    figure.get_by_role("button", name="Gradient step").click()
    slider = "document.querySelector('.softmax [role=slider]')"
    figure.page.wait_for_function(f"{slider}.getAttribute('aria-valuenow') > {start + 0.8}")

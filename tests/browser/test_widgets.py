"""Interactive figures in a browser: their mathematics against torch, mouse, keyboard, touch, static picture."""

import base64
import re

import pytest
import torch
import torch.nn.functional as F

from tests import mini_site
from utils.widgets.figure import assets
from utils.widgets.softmax_cross_entropy import SoftmaxCrossEntropy


@pytest.fixture
def figure(mini, visit):
    """The mini book's page with SoftmaxCrossEntropy mounted; motion reduced, so that a step shows at once."""
    page = visit(f"{mini[1]}/chapters/{mini_site.NAME}.html", reduced_motion="reduce")
    page.locator(".interactive.mounted").wait_for()
    return page


def logits(page):
    return [float(slider.get_attribute("aria-valuenow")) for slider in page.get_by_role("slider").all()[:4]]


def loss(page):
    return float(page.locator(".softmax .loss strong").text_content())


@pytest.fixture(scope="module")
def functions(chromium):
    """call(name, *arguments) runs a function that the figure's script exports, in the browser."""
    page = chromium.new_page()
    text = base64.b64encode(assets("softmax_cross_entropy")[0].encode()).decode()
    page.evaluate(f"import('data:text/javascript;base64,{text}').then(module => window.figure = module)")
    yield lambda name, *arguments: page.evaluate(f"(arguments) => figure.{name}(...arguments)", arguments)
    page.close()


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize("classes", [2, 4, 7])
def test_mathematics_is_torchs(functions, scale, classes):
    generator = torch.Generator().manual_seed(classes)
    z = (scale * torch.randn(classes, generator=generator, dtype=torch.float64)).requires_grad_()
    for target in range(classes):
        expected = F.cross_entropy(z[None], torch.tensor([target]))
        (slope,) = torch.autograd.grad(expected, z)
        numbers = z.tolist()
        close = {"rel": 1e-12, "abs": 1e-12}  # both compute in float64
        assert functions("softmax", numbers) == pytest.approx(z.softmax(0).tolist(), **close)
        assert functions("crossEntropy", numbers, target) == pytest.approx(expected.item(), **close)
        assert functions("gradient", numbers, target) == pytest.approx(slope.tolist(), **close)
        assert functions("descend", numbers, target, 0.7) == pytest.approx((z - 0.7 * slope).tolist(), **close)


def test_first_picture_shows_the_values_that_python_set(figure):
    widget = SoftmaxCrossEntropy()
    assert logits(figure) == widget.logits
    expected = F.cross_entropy(torch.tensor([widget.logits]), torch.tensor([widget.target]))
    assert loss(figure) == pytest.approx(expected.item(), abs=5.1e-4)  # shown with three digits
    assert figure.locator(".interactive > img").is_hidden()
    assert figure.complaints == []


def test_mouse_drags_a_logit_and_the_picture_follows(figure):
    picture = figure.locator(".softmax svg.bars")
    before, loss_before, pixels = logits(figure), loss(figure), picture.screenshot()
    box = figure.get_by_role("slider", name="logit of cat").locator(".knob").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    figure.mouse.move(x, y)
    figure.mouse.down()
    figure.mouse.move(x, y - 40, steps=5)
    figure.mouse.up()
    assert logits(figure)[0] > before[0] + 1 and logits(figure)[1:] == before[1:]
    assert loss(figure) < loss_before - 0.5
    assert picture.screenshot() != pixels
    figure.mouse.move(x, y - 80)
    assert logits(figure)[0] < 5, "still dragging after the button was let go"


def test_finger_drags_a_logit(mini, visit):
    page = visit(f"{mini[1]}/chapters/{mini_site.NAME}.html", width=360, has_touch=True, is_mobile=True)
    page.locator(".interactive.mounted").wait_for()
    page.locator(".softmax svg.bars").scroll_into_view_if_needed()
    before, scrolled = logits(page), page.evaluate("scrollY")
    box = page.get_by_role("slider", name="logit of dog").locator(".knob").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for dy in (10, 20, 30, 40):
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y + dy}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(100)
    assert logits(page)[1] < before[1] - 1
    assert page.evaluate("scrollY") == scrolled, "the page scrolled under the finger"


def test_keyboard_reaches_and_moves_everything(figure):
    slider = figure.get_by_role("slider", name="logit of dog")
    slider.focus()
    keys = {"ArrowUp": 3.1, "ArrowDown": 3.0, "PageDown": 2.0, "Home": -5.0, "End": 5.0, "ArrowRight": 5.0}
    for key, expected in keys.items():
        figure.keyboard.press(key)
        assert logits(figure)[1] == pytest.approx(expected)
    assert re.fullmatch(r"5\.00, probability 0\.9\d", slider.get_attribute("aria-valuetext"))
    figure.get_by_role("radio", name="cat").focus()
    figure.keyboard.press("ArrowRight")
    assert figure.get_by_role("radio", name="dog").is_checked()
    assert loss(figure) < 0.1
    figure.get_by_role("slider", name="step size").focus()
    figure.keyboard.press("ArrowRight")
    assert figure.locator(".softmax .slider .shown").text_content() == "1.1"


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


def test_step_glides_where_motion_is_welcome(mini, visit):
    page = visit(f"{mini[1]}/chapters/{mini_site.NAME}.html", reduced_motion="no-preference")
    start = logits(page)[0]
    page.get_by_role("button", name="Gradient step").click()
    slider = "document.querySelector('.softmax [role=slider]')"
    page.wait_for_function(f"{slider}.getAttribute('aria-valuenow') > {start + 0.8}")


def test_picture_stands_without_javascript(mini, visit):
    address = f"{mini[1]}/chapters/{mini_site.NAME}.html"
    without = visit(address, java_script_enabled=False).locator(".interactive img")
    assert without.is_visible() and "true class is cat" in without.get_attribute("alt")


def test_picture_stands_if_the_figure_fails(mini, visit):
    folder, address = mini
    page = (folder / "chapters" / f"{mini_site.NAME}.html").read_text(encoding="utf-8")
    page = page.replace("function render(", "function gone(")
    (folder / "chapters" / "broken.html").write_text(page, encoding="utf-8")
    broken = visit(f"{address}/chapters/broken.html")
    assert broken.locator(".interactive img").is_visible()
    assert any("could not start" in complaint for complaint in broken.complaints)


def test_page_works_when_opened_from_disk(mini, visit):
    page = visit((mini[0] / "chapters" / f"{mini_site.NAME}.html").as_uri())
    page.locator(".interactive.mounted").wait_for()
    page.locator("mjx-container").first.wait_for()
    assert page.complaints == []


def test_print_shows_the_static_picture(figure):
    figure.emulate_media(media="print")
    assert figure.locator(".interactive img").is_visible() and figure.locator(".softmax").is_hidden()

"""ComputationGraph in a browser: both passes against torch's autograd, mouse, touch, keyboard, playing the passes."""

import pytest
import torch

from tests.browser.conftest import bring_near
from tests.browser.pointer import drag, swipe
from utils.widgets.computation_graph import ComputationGraph

NODES = ("a", "b", "c", "d", "e", "r", "f")
NUMBER = "text => text.textContent && Number(text.textContent.replace('\\u2212', '-'))"


@pytest.fixture
def figure(interactive):
    return interactive("graph")


def shown(figure):
    """({node: value}, {node: gradient}) as the boxes show them; a box that is still empty is left out."""
    rows = {}
    for name in NODES:
        rows[name] = [text.evaluate(NUMBER) for text in figure.locator(f"[data-name={name}] .number").all()]
    return tuple({name: row[i] for name, row in rows.items() if row[i] != ""} for i in (0, 1))


def by_torch(a, b, c):
    """({node: value}, {node: gradient}, {edge: what it carries back}), by autograd; a's two uses are views of it."""
    a, b, c = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (a, b, c))
    into_d, into_f = a.view(()), a.view(())
    d = into_d * b
    e = d + c
    r = e.relu()
    f = into_f * r
    nodes = dict(zip(NODES, (a, b, c, d, e, r, f), strict=True))
    edges = {"ad": into_d, "bd": b, "de": d, "ce": c, "er": e, "af": into_f, "rf": r}
    gradients = torch.autograd.grad(f, [*nodes.values(), *edges.values()])
    numbers = [gradient.item() for gradient in gradients]
    values = {name: node.item() for name, node in nodes.items()}
    return values, dict(zip(nodes, numbers, strict=False)), dict(zip(edges, numbers[len(nodes) :], strict=True))


def agree(figure, a, b, c):
    """Whether the boxes show what torch computes, to their two digits."""
    values, gradients, _ = by_torch(a, b, c)
    return shown(figure) == (pytest.approx(values, abs=5.1e-3), pytest.approx(gradients, abs=5.1e-3))


def press(figure, name, times=1):
    for _ in range(times):
        figure.get_by_role("button", name=name, exact=True).press("Enter")
    return figure.get_by_role("status").text_content()


# e is 3, below 0, 0, positive with a = 0, and so on.
INPUTS = [(2, -1, 5), (2, -1, 1), (2, -1, 2), (0, 3, 1), (0, 3, 0), (-1.7, 2.3, 4.1), (-1.7, 2.3, -4.9), (5, 5, 5)]


@pytest.mark.parametrize("inputs", INPUTS)
def test_mathematics_is_torchs(exported, inputs):
    evaluate = exported("computation_graph")
    values, gradients, carried = by_torch(*inputs)
    close = {"rel": 1e-14, "abs": 1e-14}  # a handful of operations in float64
    forward = evaluate("(figure, inputs) => figure.forward(inputs)", dict(zip("abc", inputs, strict=True)))
    assert forward == pytest.approx(values, **close)
    backward = evaluate("(figure, values) => figure.backward(values)", forward)
    assert backward["gradients"] == pytest.approx(gradients, **close)
    edges = {edge["from"] + edge["to"]: edge for edge in backward["edges"]}
    assert {name: edge["contribution"] for name, edge in edges.items()} == pytest.approx(carried, **close)
    for (_, to), edge in edges.items():
        assert edge["contribution"] == pytest.approx(edge["slope"] * gradients[to], **close)
    assert edges["af"]["total"] == pytest.approx(carried["af"], **close)
    assert edges["ad"]["total"] == pytest.approx(gradients["a"], **close)


def test_first_picture_shows_the_values_that_python_set(figure):
    widget = ComputationGraph()
    assert agree(figure, widget.a, widget.b, widget.c)
    assert shown(figure)[1]["a"] == 1
    assert "3.00 + (−2.00) = 1.00, through f and through d" in figure.get_by_role("status").text_content()


def test_keyboard_moves_an_input_and_both_passes_follow(figure):
    slider, keyboard = figure.get_by_role("slider", name="input c"), figure.page.keyboard
    slider.focus()
    keyboard.press("ArrowLeft")
    assert agree(figure, 2, -1, 4.9)
    keyboard.press("Home")
    assert agree(figure, 2, -1, -5)
    assert slider.get_attribute("aria-valuetext") == "−5.0"
    assert "a: 2.00, gradient 0.00; b: −1.00, gradient 0.00" in figure.get_by_role("img").get_attribute("aria-label")
    assert "the ReLU is closed" in figure.get_by_role("status").text_content()


def test_mouse_moves_an_input_and_the_picture_follows(figure):
    picture, slider = figure.locator("svg"), figure.get_by_role("slider", name="input a")
    bring_near(picture)
    pixels = picture.screenshot()
    drag(slider, -30, 0)
    a = float(slider.input_value())
    assert a < 2 and agree(figure, a, -1, 5)
    assert picture.screenshot() != pixels


def test_finger_moves_an_input(interactive):
    figure = interactive("graph", width=360, has_touch=True, is_mobile=True)
    slider = figure.get_by_role("slider", name="input b")
    bring_near(slider)
    scrolled = figure.page.evaluate("scrollY")
    swipe(slider, 40, 0)
    b = float(slider.input_value())
    assert b > 0 and agree(figure, 2, b, 5)
    assert figure.page.evaluate("scrollY") == scrolled


def test_steps_go_forward_then_backward_and_say_what_they_compute(figure):
    said = [press(figure, "Step")]
    assert shown(figure) == ({"a": 2, "b": -1, "c": 5, "d": -2}, {})
    said += [press(figure, "Step") for _ in range(4)]
    assert shown(figure) == (by_torch(2, -1, 5)[0], {"f": 1})
    said.append(press(figure, "Step"))
    assert shown(figure)[1] == {"f": 1, "a": 3, "r": 2}, "a's gradient is not yet whole"
    said += [press(figure, "Step") for _ in range(3)]
    assert agree(figure, 2, -1, 5)
    assert said[:8] == [
        "Forward at d: a × b = 2.00 × (−1.00) = −2.00.",
        "Forward at e: d + c = (−2.00) + 5.00 = 3.00.",
        "Forward at r: relu(e) = relu(3.00) = 3.00.",
        "Forward at f: a × r = 2.00 × 3.00 = 6.00.",
        "Backward starts: the gradient of f with respect to itself is 1.",
        "Backward at f: gradient of a gets r × 1.00 = 3.00; gradient of r gets a × 1.00 = 2.00.",
        "Backward at r: gradient of e gets 1 × 2.00 = 2.00.",
        "Backward at e: gradient of d gets 1 × 2.00 = 2.00; gradient of c gets 1 × 2.00 = 2.00.",
    ]
    assert said[8].startswith("Backward at d: a's gradient grows by b × 2.00 = −2.00, to 1.00; gradient of b gets a × ")
    assert press(figure, "Step") == said[0], "after the last step comes the first"


def test_passes_play_at_once_where_motion_is_reduced(figure):
    assert press(figure, "Forward") == "Forward at f: a × r = 2.00 × 3.00 = 6.00."
    assert shown(figure) == (by_torch(2, -1, 5)[0], {})
    press(figure, "Backward")
    assert agree(figure, 2, -1, 5)
    press(figure, "Forward")
    figure.get_by_role("slider", name="input b").press("ArrowRight")
    assert agree(figure, 2, -0.9, 5), "moving an input shows both passes"


def test_passes_play_node_by_node_where_motion_is_welcome(interactive):
    figure = interactive("graph", reduced_motion="no-preference")
    press(figure, "Forward")
    filled = []
    for _ in range(200):
        count = len(shown(figure)[0])
        if count not in filled:
            filled.append(count)
        if count == len(NODES):
            break
        figure.page.wait_for_timeout(50)
    assert filled[-4:] == [4, 5, 6, 7], "d, e, r and f appear one after the other"
    press(figure, "Backward")
    figure.get_by_role("slider", name="input b").press("ArrowRight")
    figure.page.wait_for_timeout(1500)  # longer than a node takes
    assert agree(figure, 2, -0.9, 5), "moving an input stops what plays"


def test_narrow_figure_stands_upright(interactive):
    wide, narrow = interactive("graph"), interactive("graph", width=360)
    boxes = [figure.locator("svg").bounding_box() for figure in (wide, narrow)]
    assert boxes[0]["width"] > 2 * boxes[0]["height"] and boxes[1]["height"] > 1.3 * boxes[1]["width"]

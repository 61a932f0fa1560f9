"""ReceptiveField in a browser: sizes, parameters and influence against torch, mouse, touch, keyboard."""

import re

import pytest
import torch
from torch import nn

from tests.browser.conftest import bring_near
from tests.browser.pointer import drag, swipe
from utils.widgets.receptive_field import ReceptiveField

LAYERS = {  # by name, for this number of input and of output channels
    "conv 3x3": lambda i, o: nn.Conv2d(i, o, 3, padding=1),
    "conv 3x3 stride 2": lambda i, o: nn.Conv2d(i, o, 3, stride=2, padding=1),
    "conv 3x3 dilation 2": lambda i, o: nn.Conv2d(i, o, 3, dilation=2, padding=2),
    "conv 5x5": lambda i, o: nn.Conv2d(i, o, 5, padding=2),
    "conv 1x1": lambda i, o: nn.Conv2d(i, o, 1),
    "max pool 2x2": lambda i, o: nn.MaxPool2d(2),
}
LENET = ["conv 5x5", "max pool 2x2", "conv 5x5", "max pool 2x2"]
STACKS = [
    [],
    *([name] for name in LAYERS),
    LENET,
    ["conv 3x3 dilation 2"] * 3,
    ["conv 3x3 stride 2"] * 8,
    ["conv 5x5"] * 8,
    ["max pool 2x2", "conv 3x3 stride 2", "conv 3x3 dilation 2", "conv 1x1", "max pool 2x2", "conv 5x5"],
]
TABLE = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"


@pytest.fixture
def figure(interactive):
    return interactive("receptive")


def by_torch(layers, position):
    """The gradient of the output over `position` with respect to the picture, all weights equal: float64 [32, 32].

    A max pool is a mean here, which is its gradient on the average over which of its four pixels is the largest.
    """
    picture = torch.zeros(1, 1, 32, 32, dtype=torch.float64, requires_grad=True)
    net = nn.Sequential(*[nn.AvgPool2d(2) if "pool" in name else LAYERS[name](1, 1) for name in layers]).double()
    for parameter in net.parameters():
        nn.init.ones_(parameter)
    outputs = net(picture)[0, 0]
    row, column = (pixel * len(outputs) // 32 for pixel in position)
    return torch.autograd.grad(outputs[row, column], picture)[0][0, 0]


def stack(figure):
    """The table's rows after the input's: [[layer, output, field, jump, parameters], ...]."""
    return figure.locator("tbody tr").evaluate_all(TABLE)[1:]


def shades(figure):
    """How strongly each pixel is shaded, [32, 32]."""
    opacity = "pixels => pixels.map(pixel => Number(pixel.getAttribute('fill-opacity')))"
    return torch.tensor(figure.locator("svg.input .pixel").evaluate_all(opacity)).view(32, 32)


def position(figure):
    return [int(figure.get_by_role("slider", name=f"output {axis}").input_value()) for axis in ("row", "column")]


def depends(figure):
    return int(re.search(r"depends on (\d+) of", figure.get_by_role("status").text_content())[1])


@pytest.mark.parametrize("layers", STACKS)
def test_sizes_and_parameters_are_torchs(exported, layers):
    rows = exported("receptive_field")("(figure, layers) => figure.geometry(layers)", layers)
    x = torch.zeros(1, 3, 32, 32)
    for name, row in zip(layers, rows[1:], strict=True):
        layer, before = LAYERS[name](x.shape[1], 16), x
        x = layer(x)
        assert row["size"] == x.shape[-1]
        assert row["parameters"] == sum(p.numel() for p in layer.parameters())
        weights = layer.weight[0].numel() if row["parameters"] else 0
        assert row["multiplications"] == weights * x.numel(), f"{name} on {tuple(before.shape)}"


@pytest.mark.parametrize("where", [[16, 16], [0, 31], [5, 22]])
@pytest.mark.parametrize("layers", STACKS)
def test_influence_is_torchs_gradient(exported, layers, where):
    evaluate, expected = exported("receptive_field"), by_torch(layers, where)
    last = evaluate("(figure, layers) => figure.geometry(layers).at(-1)", layers)
    outputs = [pixel * last["size"] // 32 for pixel in where]
    ways = "(figure, layers, q) => figure.influence(layers, q)[0]"
    down, across = (torch.tensor(evaluate(ways, layers, q), dtype=torch.float64) for q in outputs)
    influence = torch.outer(down, across)
    # Whole numbers, exact in float64; a mean over four is a factor of 1/4.
    assert torch.equal(influence / influence.max(), expected / expected.max())
    # The receptive field is the smallest square that holds every pixel with a gradient; padding has none.
    for q, nonzero in zip(outputs, (expected.sum(1), expected.sum(0)), strict=True):
        first = q * last["jump"] + last["first"]
        end = first + last["field"] - 1
        seen = nonzero.nonzero().flatten().tolist()
        assert seen[0] == first >= 0 or seen[0] >= 0 > first
        assert seen[-1] == end <= 31 or seen[-1] <= 31 < end
    count = evaluate("(figure, values) => figure.strongest(values)", influence.flatten().tolist())
    sums = expected.flatten().sort(descending=True).values.cumsum(0) / expected.sum()
    assert sums[count - 1] >= 0.9 and (count == 1 or sums[count - 2] < 0.9)


def test_static_picture_and_figure_tell_the_same(figure):
    widget = ReceptiveField()
    alt = widget.alt()
    for name, output, field, jump, parameters in stack(figure):
        assert f"{name[2:]}: output {output}, receptive field {field}, jump {jump}, {parameters} parameters" in alt
    expected = by_torch(widget.layers, widget.position)
    assert torch.equal(widget._influence() / widget._influence().max(), expected / expected.max())
    darkness = torch.where(expected > 0, 0.12 + 0.88 * expected / expected.max(), 0)
    assert (shades(figure) - darkness).abs().max() < 1e-3
    status = figure.get_by_role("status").text_content()
    assert f"depends on {depends(figure)} pixels" in alt
    assert re.search(r"the strongest \d+", status)[0] in alt


def test_stack_grows_and_shrinks_by_buttons(figure):
    press = lambda name: figure.get_by_role("button", name=name, exact=True).press("Enter")  # noqa: E731
    press("Clear")
    assert stack(figure) == [] and shades(figure).sum() == 1
    assert figure.get_by_role("button", name="Remove last").is_disabled()
    press("+ conv 3×3 dilation 2")
    assert stack(figure) == [["1 conv 3×3 dilation 2", "32×32", "5×5", "1", "448"]]
    assert depends(figure) == 9, "a dilated kernel leaves holes"
    press("+ conv 3×3")
    assert stack(figure)[1] == ["2 conv 3×3", "32×32", "7×7", "1", "2,320"] and depends(figure) == 49
    press("Remove last")
    assert len(stack(figure)) == 1
    press("LeNet-like")
    assert [row[0][2:].replace("×", "x") for row in stack(figure)] == LENET
    press("Clear")
    for _ in range(5):
        press("+ max pool 2×2")
    assert figure.get_by_role("button", name="+ max pool").is_disabled(), "one pixel is left"
    for _ in range(3):
        press("+ conv 3×3 stride 2")
    assert all(adder.is_disabled() for adder in figure.get_by_role("button", name="+").all()), "eight layers are enough"
    assert stack(figure)[-1] == ["8 conv 3×3 stride 2", "1×1", "480×480", "256", "2,320"]


def test_mouse_drags_the_output_and_the_field_follows(figure):
    picture, handle = figure.locator("svg.input"), figure.locator(".knob")
    bring_near(picture)
    assert position(figure) == [8, 8]
    pixels, before = picture.screenshot(), figure.locator(".field").bounding_box()
    drag(handle, 60, -40)
    assert position(figure)[0] < 7 and position(figure)[1] > 9
    after = figure.locator(".field").bounding_box()
    assert after["x"] > before["x"] + 40 and after["y"] < before["y"] - 20 and picture.screenshot() != pixels
    drag(handle, -500, 500)
    assert position(figure) == [15, 0], "the output stays within the picture"
    assert depends(figure) < 196, "part of the field is padding"


def test_finger_drags_the_output(interactive):
    figure = interactive("receptive", width=360, has_touch=True, is_mobile=True)
    bring_near(figure.locator("svg.input"))
    scrolled = figure.page.evaluate("scrollY")
    swipe(figure.locator(".knob"), 50, 40)
    assert position(figure)[0] > 9 and position(figure)[1] > 9
    assert figure.page.evaluate("scrollY") == scrolled, "the page scrolled under the finger"


def test_keyboard_moves_the_output(figure):
    for axis, key, expected in (("row", "ArrowRight", [9, 8]), ("column", "Home", [9, 0]), ("row", "End", [15, 0])):
        figure.get_by_role("slider", name=f"output {axis}").press(key)
        assert position(figure) == expected
        assert torch.equal(shades(figure) > 0, by_torch(ReceptiveField().layers, [2 * q + 1 for q in expected]) > 0)

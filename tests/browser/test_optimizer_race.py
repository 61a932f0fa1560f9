"""OptimizerRace in a browser: surfaces against autograd, optimisers against torch.optim, mouse, touch, keyboard."""

import pytest
import torch

from tests.browser.conftest import bring_near
from tests.browser.pointer import drag, swipe
from tests.browser.tables import value
from utils.widgets.optimizer_race import SURFACES as PYTHONS
from utils.widgets.optimizer_race import OptimizerRace, _noise

SURFACES = {
    "valley": lambda x, y: (x**2 + 25 * y**2) / 2,
    "saddle": lambda x, y: x**2 / 2 - y**2 / 2 + y**4 / 4,
    "Rosenbrock": lambda x, y: (1 - x) ** 2 / 20 + (y + 1 - x**2) ** 2,
    "noisy valley": lambda x, y: (x**2 + 25 * y**2) / 2,
}
OPTIMIZERS = {
    "gradient descent": lambda theta, rate, beta: torch.optim.SGD([theta], lr=rate),
    "momentum": lambda theta, rate, beta: torch.optim.SGD([theta], lr=rate, momentum=beta),
    "RMSProp": lambda theta, rate, beta: torch.optim.RMSprop([theta], lr=rate),
    "Adam": lambda theta, rate, beta: torch.optim.Adam([theta], lr=rate, betas=(beta, 0.999)),
}
PATH = "(figure, ...race) => figure.path(...race)"


@pytest.fixture
def figure(interactive):
    return interactive("race")


def by_torch(surface, optimizer, rate, beta, start, noise):
    """The points of a race by torch.optim, float64 [101, 2]; noise [100, 2] is added to the gradients."""
    theta = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    steps, points = OPTIMIZERS[optimizer](theta, rate, beta), [theta.detach().clone()]
    for xi in noise:
        steps.zero_grad()
        SURFACES[surface](*theta).backward()
        theta.grad += xi
        steps.step()
        points.append(theta.detach().clone())
    return torch.stack(points)


def table(figure):
    """{optimiser: (learning rate, f)} as the legend shows them."""
    rows = {}
    for row in figure.locator("tbody tr").all():
        rows[row.locator("th span").text_content()] = tuple(row.locator("td").all_text_contents())
    return rows


def start(figure):
    return [float(figure.get_by_role("slider", name=f"start {axis}").input_value()) for axis in "xy"]


@pytest.mark.parametrize("surface", SURFACES)
def test_surfaces_and_gradients_are_torchs(exported, surface):
    evaluate = exported("optimizer_race")
    points = 2 * torch.randn(20, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    points.requires_grad_()
    f = SURFACES[surface](*points.T)
    (gradients,) = torch.autograd.grad(f.sum(), points)
    js = "(figure, name, points) => points.map(p => [figure.surfaces[name].f(p), ...figure.surfaces[name].gradient(p)])"
    found = torch.tensor(evaluate(js, surface, points.tolist()), dtype=torch.float64)
    torch.testing.assert_close(found[:, 0], f.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[:, 1:], gradients, rtol=1e-12, atol=1e-12)
    _, begin, sd = PYTHONS[surface]
    assert evaluate("(figure, name) => figure.surfaces[name].start", surface) == list(begin)
    assert evaluate("(figure, name) => figure.surfaces[name].sd ?? 0", surface) == sd


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("surface", SURFACES)
def test_hundred_steps_are_those_of_torch_optim(exported, surface, optimizer, beta):
    evaluate = exported("optimizer_race")
    noise = torch.tensor(evaluate("figure => figure.noise(100)"), dtype=torch.float64)
    noise *= 2 if surface == "noisy valley" else 0
    for rate, begin in ((0.02, [-1.2, 0.3]), (0.003, [1.7, -1.1])):
        expected = by_torch(surface, optimizer, rate, beta, begin, noise)
        found = torch.tensor(evaluate(PATH, surface, optimizer, rate, beta, begin), dtype=torch.float64)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_noise_is_standard_normal_and_the_same_in_python(exported):
    noise = torch.tensor(exported("optimizer_race")("figure => figure.noise(20000)"), dtype=torch.float64)
    torch.testing.assert_close(_noise(20000), noise, rtol=1e-12, atol=1e-12)
    # 20,000 draws each: five standard errors of a mean and of a standard deviation
    assert noise.mean(0).abs().max() < 5 / 20000**0.5
    assert (noise.std(0) - 1).abs().max() < 5 / 40000**0.5
    assert torch.corrcoef(noise.T)[0, 1].abs() < 5 / 20000**0.5


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_best_rate_beats_every_other_of_its_grid(exported, optimizer):
    evaluate = exported("optimizer_race")
    best = evaluate("(figure, ...race) => figure.bestRate(...race)", "Rosenbrock", optimizer, 0.9, [-1.2, 0])
    grid = torch.logspace(-3, 0, 31, dtype=torch.float64)
    paths = [by_torch("Rosenbrock", optimizer, rate, 0.9, [-1.2, 0.0], torch.zeros(100, 2)) for rate in grid.tolist()]
    ends = torch.stack([SURFACES["Rosenbrock"](*path[-1]) for path in paths]).nan_to_num(torch.inf)
    assert best == pytest.approx(grid[ends.argmin()].item())


def test_static_picture_and_figure_tell_the_same(figure):
    widget = OptimizerRace()
    rows = table(figure)
    assert list(rows) == list(OPTIMIZERS)
    for name, (rate, points) in widget._race().items():
        assert value(rows[name][0]) == rate == widget.learning_rate
        assert value(rows[name][1]) == pytest.approx(SURFACES[widget.surface](*points[-1]).item(), rel=5e-3)


def test_mouse_drags_the_start_and_everything_follows(figure):
    picture, handle = figure.locator("svg.surface"), figure.locator(".knob")
    bring_near(picture)
    before, rows, pixels = start(figure), table(figure), picture.screenshot()
    drag(handle, 60, 20)
    assert start(figure)[0] > before[0] + 0.3 and start(figure)[1] < before[1] - 0.1
    assert table(figure) != rows and picture.screenshot() != pixels
    drag(handle, -500, 0)
    assert start(figure)[0] == -2, "the start stays within the picture"
    drag(picture, 10, 0)
    assert start(figure)[0] == pytest.approx(0.15, abs=0.2), "a press anywhere in the picture takes the start there"


def test_finger_drags_the_start(interactive):
    figure = interactive("race", width=360, has_touch=True, is_mobile=True)
    bring_near(figure.locator("svg.surface"))
    before, scrolled = start(figure), figure.page.evaluate("scrollY")
    swipe(figure.locator(".knob"), 40, 50)
    assert start(figure)[0] > before[0] + 0.3 and start(figure)[1] < before[1] - 0.4
    assert figure.page.evaluate("scrollY") == scrolled, "the page scrolled under the finger"


def test_keyboard_reaches_and_moves_everything(figure):
    keyboard = figure.page.keyboard
    for name, key, text in (
        ("learning rate", "End", "1"),
        ("momentum", "Home", "0.00"),
        ("start x", "ArrowRight", "−1.79"),
        ("start y", "End", "1.50"),
    ):
        slider, rows = figure.get_by_role("slider", name=name), table(figure)
        slider.focus()
        keyboard.press(key)
        assert slider.get_attribute("aria-valuetext") == text
        assert table(figure) != rows
    assert table(figure)["gradient descent"] == ("1", "diverged")
    figure.get_by_role("combobox", name="surface").focus()
    keyboard.press("ArrowDown")
    assert start(figure) == [-1.8, 0.02], "each surface has its own start"
    figure.get_by_role("checkbox", name="Adam").press("Space")
    assert table(figure)["Adam"] == ("", "") and table(figure)["RMSProp"][1]
    figure.get_by_role("checkbox", name="own best").press("Space")
    assert len({rate for rate, _ in table(figure).values()}) > 2
    assert figure.get_by_role("slider", name="learning rate").is_disabled()
    figure.get_by_role("button", name="Reset").press("Enter")
    widget = OptimizerRace()
    assert start(figure) == widget.start and value(table(figure)["Adam"][0]) == widget.learning_rate


def test_steps_go_one_by_one_from_the_start(figure):
    widget = OptimizerRace()
    points = widget._race()["Adam"][1]
    for t in range(1, 4):
        figure.get_by_role("button", name="Step").press("Enter")
        assert value(table(figure)["Adam"][1]) == pytest.approx(SURFACES["valley"](*points[t]).item(), rel=5e-3)
        assert figure.locator("thead").text_content().endswith(f"f after {t} steps")
    figure.get_by_role("button", name="Race").press("Enter")  # at once, since motion is reduced
    status = figure.get_by_role("status").text_content()
    ends = {name: value(f) for name, (_, f) in table(figure).items()}
    assert status.startswith(f"After 100 steps, {min(ends, key=ends.get)} is lowest: f = ")


def test_race_runs_where_motion_is_welcome(interactive):
    figure = interactive("race", reduced_motion="no-preference")
    figure.get_by_role("button", name="Race").click()
    steps = "Number(document.querySelector('.race thead').textContent.match(/\\d+/))"
    figure.page.wait_for_function(f"{steps} > 5 && {steps} < 90")
    figure.page.wait_for_function(f"{steps} === 100")

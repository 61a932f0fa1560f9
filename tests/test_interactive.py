"""Interactive figures in Python: what is displayed, on ipywidgets 8 and as on Colab's 7, and what is refused."""

import base64

import pytest
import torch
import traitlets
from IPython.core.interactiveshell import InteractiveShell

from tests import mini_site
from utils.widgets import figure
from utils.widgets.computation_graph import ComputationGraph
from utils.widgets.fine_tuning import FineTuning
from utils.widgets.optimizer_race import SURFACES, OptimizerRace, _best
from utils.widgets.receptive_field import ReceptiveField
from utils.widgets.residual_stack import ResidualStack
from utils.widgets.softmax_cross_entropy import SoftmaxCrossEntropy

VIEW = "application/vnd.jupyter.widget-view+json"


def display(widget):
    """(data, metadata) of a figure as IPython shows it."""
    return InteractiveShell.instance().display_formatter.format(widget)


@pytest.mark.parametrize("Figure", mini_site.INTERACTIVE.values())
def test_display_carries_view_picture_and_alt_text(Figure):
    # IPython prefers a method _ipython_display_, which ipywidgets 7 has and which knows of no picture.
    widget = Figure()
    data, metadata = display(widget)
    assert VIEW in data and base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == metadata["image/png"]["alt"] == widget.alt()


def test_alt_text_tells_the_values_as_they_stand():
    alt = SoftmaxCrossEntropy(logits=[0.0, 0.0, 0.0, 0.0]).alt()
    assert "ship: logit 0.00, probability 0.25, gradient +0.25" in alt
    assert alt.endswith("The true class is cat; the loss is 1.39 nats.")  # ln 4
    alt = ComputationGraph(a=2, b=-1, c=1).alt()
    assert "b: value −1.00, gradient 0.00" in alt and "r = relu(e): value 0.00, gradient 2.00" in alt  # closed
    alt = OptimizerRace(learning_rate=1, momentum=0.5, start=[1, 0], racers=["gradient descent"]).alt()
    assert alt.endswith("gradient descent at learning rate 1: f = 0.")  # along x one step is the whole way
    assert "gradient descent at learning rate 1: diverged" in OptimizerRace(learning_rate=1).alt()
    alt = ReceptiveField(layers=["conv 5x5", "max pool 2x2"], position=[0, 31]).alt()
    assert "max pool 2×2: output 16×16, receptive field 6×6, jump 2, 0 parameters" in alt  # 5 + (2 - 1) 1
    assert "depends on 16 pixels, in rows 0 to 3 and columns 28 to 31" in alt  # at the corner two of six are padding
    alt = ResidualStack(branch_scale=0).alt()
    assert "residual product: largest 1, median 1, smallest 1, largest over smallest 1." in alt  # the identity
    alt = FineTuning(head=1.6).alt()  # the truth: nothing to learn
    assert alt.count("head 1.60, feature (0.60, 0.45), turned by 0°, error 0.00 on the data and 0.00 off it") == 2


@pytest.mark.parametrize("surface", SURFACES)
def test_own_rates_are_at_least_as_good_as_a_shared_one(surface):
    f = SURFACES[surface][0]
    shared, own = (OptimizerRace(surface=surface, learning_rate=0.1, own_rates=own)._race() for own in (False, True))
    assert len({rate for rate, _ in own.values()}) > 1, "one rate is best for all: the switch would show nothing"
    for name, (_, points) in own.items():
        assert not f(*points[-1]) > torch.nan_to_num(f(*shared[name][1][-1]), nan=torch.inf)  # 0.1 is in the grid


def test_race_is_run_once_for_picture_and_alt_text():
    before, widget = _best.cache_info().misses, OptimizerRace(momentum=0.123)
    display(widget)
    assert _best.cache_info().misses == before + len(widget.racers)


def test_race_begins_at_its_surfaces_own_start_if_none_is_given():
    assert OptimizerRace(surface="saddle").start == [-1.8, 0.02]
    assert OptimizerRace(surface="saddle", start=[1.0, 1.0]).start == [1.0, 1.0]


CHANGED = [
    (SoftmaxCrossEntropy, {"target": 1}),
    (ComputationGraph, {"b": 0.5}),
    (OptimizerRace, {"momentum": 0.5}),
    (ReceptiveField, {"layers": ["conv 5x5"]}),
    (ResidualStack, {"seed": 2}),
    (FineTuning, {"angle": 10.0}),
]


@pytest.mark.parametrize(("Figure", "changed"), CHANGED)
def test_same_values_give_the_same_picture(Figure, changed):
    first, second, other = (display(widget)[0]["image/png"] for widget in (Figure(), Figure(), Figure(**changed)))
    assert first == second != other


@pytest.mark.parametrize("Figure", mini_site.INTERACTIVE.values())
def test_script_is_one_module_without_imports(Figure):
    text = figure.assets(Figure.__module__.split(".")[-1])[0]
    assert "import {" not in text and "function keySlider" in text and text.count("export default") == 1


def test_script_without_its_import_is_refused(tmp_path, monkeypatch):
    (tmp_path / "figure.js").write_text("export const a = 1;\n")
    (tmp_path / "mine.js").write_text("export default {};\n")
    monkeypatch.setattr(figure, "HERE", tmp_path)
    with pytest.raises(ValueError, match=r"utils/widgets/mine\.js must hold one line: import"):
        figure.assets("mine")


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match="3 logits for 4 classes"):
        SoftmaxCrossEntropy(logits=[0.0, 1.0, 2.0])
    with pytest.raises(traitlets.TraitError, match="target is 4; expected 0 to 3"):
        SoftmaxCrossEntropy(target=4)
    for value in (5.5, float("nan")):
        with pytest.raises(traitlets.TraitError, match=f"b is {value}; expected -5 to 5"):
            ComputationGraph(b=value)
    with pytest.raises(traitlets.TraitError, match=r"learning_rate is 2\.0; expected 0\.001 to 1"):
        OptimizerRace(learning_rate=2)
    with pytest.raises(traitlets.TraitError, match=r"momentum is 1\.0; expected 0 to 0\.99"):
        OptimizerRace(momentum=1)
    with pytest.raises(traitlets.TraitError, match=r"start is \[3\.0, 0\.0\]; expected x in -2\.\.2 and y in"):
        OptimizerRace(start=[3, 0])
    with pytest.raises(traitlets.TraitError, match="surface"):
        OptimizerRace(surface="hill")
    with pytest.raises(traitlets.TraitError, match="racers"):
        OptimizerRace(racers=["adam"])
    with pytest.raises(traitlets.TraitError, match="layers"):
        ReceptiveField(layers=["conv 7x7"])
    with pytest.raises(traitlets.TraitError, match="layers has a max pool 2x2 where one pixel is left"):
        ReceptiveField(layers=["conv 3x3 stride 2"] * 5 + ["max pool 2x2"])
    with pytest.raises(traitlets.TraitError, match=r"position is \[32, 0\]; expected row and column in 0\.\.31"):
        ReceptiveField(position=[32, 0])
    for name, value in (("depth", 65), ("branch_scale", float("nan")), ("seed", 0)):
        with pytest.raises(traitlets.TraitError, match=f"{name} is {value}; expected "):
            ResidualStack(**{name: value})
    for name, value in (("head", -2.1), ("angle", 21.0)):
        with pytest.raises(traitlets.TraitError, match=f"{name} is {value}; expected -"):
            FineTuning(**{name: value})

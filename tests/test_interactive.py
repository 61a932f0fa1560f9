"""Interactive figures in Python: what is displayed, on ipywidgets 8 and as on Colab's 7, and what is refused."""

import base64

import pytest
import traitlets
from IPython.core.interactiveshell import InteractiveShell

from utils.widgets import figure
from utils.widgets.softmax_cross_entropy import SoftmaxCrossEntropy

VIEW = "application/vnd.jupyter.widget-view+json"


def test_display_carries_view_picture_and_alt_text():
    # IPython prefers a method _ipython_display_, which ipywidgets 7 has and which knows of no picture.
    formatter = InteractiveShell.instance().display_formatter
    data, metadata = formatter.format(SoftmaxCrossEntropy(logits=[0.0, 0.0, 0.0, 0.0]))
    assert VIEW in data and base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    alt = metadata["image/png"]["alt"]
    assert data["text/plain"] == alt
    assert "ship: logit 0.00, probability 0.25, gradient +0.25" in alt
    assert alt.endswith("The true class is cat; the loss is 1.39 nats.")  # ln 4


def test_same_values_give_the_same_picture():
    first, second = (SoftmaxCrossEntropy()._repr_mimebundle_()[0]["image/png"] for _ in range(2))
    assert first == second
    assert first != SoftmaxCrossEntropy(target=1)._repr_mimebundle_()[0]["image/png"]


def test_script_is_one_module_without_imports():
    text = figure.assets("softmax_cross_entropy")[0]
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

"""Interactive figures that compute in the browser, so that they work on the static site, in JupyterLab and in Colab.

Knows: how a figure's JavaScript is put together, and how its static picture and alt text travel with it, for GitHub,
print and readers without JavaScript. Doesn't know: what the figures draw; that is one file each in utils/js, which
is compared with torch in tests/browser/test_widgets.py.

A new figure is a subclass of Figure with `_esm = script("name.js")`, its traits, `draw()` and `alt()`.
"""

import base64
import io
import re
from pathlib import Path

import anywidget
import matplotlib.pyplot as plt
import torch
import traitlets

from utils import figures

JS = Path(__file__).parent / "js"


def script(name):
    """One ES module: utils/js/`name` with the helpers of figure.js in place of its import of them.

    A widget's script is handed to the browser as text, where a relative import leads nowhere.
    """
    helpers = re.sub(r"^export ", "", (JS / "figure.js").read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = (JS / name).read_text(encoding="utf-8")
    imports = re.compile(r'^import \{[^}]*\} from "\./figure\.js";\n', re.MULTILINE)
    if len(imports.findall(text)) != 1:
        raise ValueError(f'utils/js/{name} must hold one line: import {{ ... }} from "./figure.js";')
    return imports.sub(lambda _: helpers, text)


class Figure(anywidget.AnyWidget):
    """An interactive figure with its static picture: base of the book's widgets."""

    _css = (JS / "figure.css").read_text(encoding="utf-8")

    def draw(self):
        """The figure as it stands, as a Matplotlib figure: what a reader without JavaScript sees."""
        raise NotImplementedError

    def alt(self):
        """What is to be seen, in words, with the values as they stand."""
        raise NotImplementedError

    # ipywidgets 7 (Colab's) shows a widget through this method if it is there, and would leave the picture out.
    _ipython_display_ = None

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        picture = io.BytesIO()
        drawn = self.draw()
        drawn.savefig(picture, format="png", dpi=150, metadata={"Software": None}, facecolor="white")
        plt.close(drawn)
        encoded = base64.b64encode(picture.getvalue()).decode()
        data = {**data, "image/png": encoded, "text/plain": self.alt()}
        return data, {**metadata, "image/png": {"alt": self.alt()}}


class SoftmaxCrossEntropy(Figure):
    """Logits to drag, with their softmax ŷ, the loss of the true class and its gradient ŷ - y (chapter 1).

    classes: K names; logits: K numbers in -5..5, one per class; target: index of the true class;
    step_size: eta of the step z <- z - eta (ŷ - y), 0.1..4.
    """

    _esm = script("softmax-cross-entropy.js")
    classes = traitlets.List(traitlets.Unicode(), ["cat", "dog", "truck", "ship"]).tag(sync=True)
    logits = traitlets.List(traitlets.Float(), [1.0, 3.0, -2.5, 0.5]).tag(sync=True)
    target = traitlets.Int(0).tag(sync=True)
    step_size = traitlets.Float(1.0).tag(sync=True)

    @traitlets.validate("target")
    def _known_class(self, proposal):
        if not 0 <= proposal["value"] < len(self.classes):
            raise traitlets.TraitError(f"target is {proposal['value']}; expected 0 to {len(self.classes) - 1}")
        return proposal["value"]

    def __init__(self, **traits):
        super().__init__(**traits)
        if len(self.logits) != len(self.classes):
            raise ValueError(f"{len(self.logits)} logits for {len(self.classes)} classes; give one per class")

    def _values(self):
        """Probabilities, loss in nats, gradient with respect to the logits."""
        logits = torch.tensor(self.logits, dtype=torch.float64)
        probabilities = logits.softmax(0)
        one_hot = torch.nn.functional.one_hot(torch.tensor(self.target), len(self.classes))
        loss = -logits.log_softmax(0)[self.target].item()
        return probabilities.tolist(), loss, (probabilities - one_hot).tolist()

    def draw(self):
        probabilities, loss, gradient = self._values()
        figure, axes = plt.subplots(1, 3, figsize=(8, 2.8))
        blue, orange, green = figures.COLOURS[:3]
        names = [f"{name}\n(true)" if k == self.target else name for k, name in enumerate(self.classes)]
        rows = (
            ("logits z", self.logits, blue),
            ("probabilities ŷ", probabilities, green),
            ("gradient ŷ − y", gradient, orange),
        )
        for axis, (label, values, colour) in zip(axes, rows, strict=True):
            axis.bar(names, values, color=colour)
            axis.axhline(0, color="black", linewidth=0.8)
            axis.set_title(label, fontsize=11)
            axis.set_axisbelow(True)
            axis.grid(False, axis="x")
        figure.suptitle(f"loss −ln ŷ({self.classes[self.target]}) = {loss:.2f} nats")
        return figure

    def alt(self):
        probabilities, loss, gradient = self._values()
        values = "; ".join(
            f"{name}: logit {z:.2f}, probability {p:.2f}, gradient {g:+.2f}"
            for name, z, p, g in zip(self.classes, self.logits, probabilities, gradient, strict=True)
        )
        return (
            f"Three bar charts of softmax cross-entropy over {len(self.classes)} classes. {values}. "
            f"The true class is {self.classes[self.target]}; the loss is {loss:.2f} nats."
        )

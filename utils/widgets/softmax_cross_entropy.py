"""Softmax cross-entropy to take hold of (chapter 1)."""

import matplotlib.pyplot as plt
import torch
import traitlets

from utils import figures
from utils.widgets.figure import Figure, assets


class SoftmaxCrossEntropy(Figure):
    """Logits to drag, with their softmax ŷ, the loss of the true class and its gradient ŷ - y (chapter 1).

    classes: K names; logits: K numbers in -5..5, one per class; target: index of the true class;
    step_size: eta of the step z <- z - eta (ŷ - y), 0.1..4.
    """

    _esm, _css = assets("softmax_cross_entropy")
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

"""The graph of an expression, with both passes of backpropagation to watch (chapter 2)."""

import matplotlib.pyplot as plt
import torch
import traitlets
from matplotlib.patches import Rectangle

from utils import figures
from utils.widgets.figure import Figure, assets

LIMIT = 5.0
FORMULAS = {"a": "a", "b": "b", "c": "c", "d": "d = a × b", "e": "e = d + c", "r": "r = relu(e)", "f": "f = a × r"}
PLACES = {"a": (0, 1), "b": (0, 0), "c": (0, -1), "d": (1, 0), "e": (2, 0), "r": (3, 0), "f": (4, 0)}
# From, to, and how far above the middle the edge leaves and arrives.
EDGES = [("a", "d", -0.1, 0.12), ("b", "d", 0, -0.12), ("d", "e", 0, 0.12), ("c", "e", 0, -0.12), ("e", "r", 0, 0)]
EDGES += [("a", "f", 0.1, 0.12), ("r", "f", 0, -0.12)]
HALF_WIDTH = 0.33


class ComputationGraph(Figure):
    """The graph of f = a * relu(a * b + c) with the value and the gradient of every node (chapter 2).

    a, b, c: the inputs, -5..5. The reader moves them and plays the forward and the backward pass node by node.
    """

    _esm, _css = assets("computation_graph")
    a = traitlets.Float(2.0).tag(sync=True)
    b = traitlets.Float(-1.0).tag(sync=True)
    c = traitlets.Float(5.0).tag(sync=True)

    @traitlets.validate("a", "b", "c")
    def _within_the_slider(self, proposal):
        if not -LIMIT <= proposal["value"] <= LIMIT:  # refuses nan as well
            name = proposal["trait"].name
            raise traitlets.TraitError(f"{name} is {proposal['value']}; expected -{LIMIT:g} to {LIMIT:g}")
        return proposal["value"]

    def _values(self):
        """{node: (value, gradient of f with respect to it)}."""
        a, b, c = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (self.a, self.b, self.c))
        d = a * b
        e = d + c
        r = e.relu()
        f = a * r
        nodes = {"a": a, "b": b, "c": c, "d": d, "e": e, "r": r, "f": f}
        gradients = torch.autograd.grad(f, list(nodes.values()))
        return {name: (node.item(), g.item()) for (name, node), g in zip(nodes.items(), gradients, strict=True)}

    def draw(self):
        blue, orange = figures.COLOURS[:2]
        figure, axis = plt.subplots(figsize=(8, 3.3))
        for start, end, leaves, arrives in EDGES:
            (x0, y0), (x1, y1) = PLACES[start], PLACES[end]
            x0, x1 = x0 + HALF_WIDTH, x1 - HALF_WIDTH
            bend = x1 - (1 - 2 * HALF_WIDTH)
            axis.plot([x0, bend], [y0 + leaves] * 2, color="0.4", linestyle="-", marker="", linewidth=1.3)
            style = {"arrowstyle": "-|>", "color": "0.4", "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0}
            axis.annotate("", (x1, y1 + arrives), (bend, y0 + leaves), arrowprops=style)
        for name, (value, gradient) in self._values().items():
            x, y = PLACES[name]
            left, right = x - HALF_WIDTH, x + HALF_WIDTH
            for bottom, label, number, colour in ((-0.14, "data", value, blue), (-0.34, "grad", gradient, orange)):
                axis.add_patch(Rectangle((left, y + bottom), 2 * HALF_WIDTH, 0.2, color=colour, alpha=0.2, linewidth=0))
                axis.text(left + 0.05, y + bottom + 0.09, label, va="center", size=10, color="0.3")
                axis.text(right - 0.05, y + bottom + 0.09, _digits(number), ha="right", va="center", size=10)
            axis.add_patch(Rectangle((left, y - 0.34), 2 * HALF_WIDTH, 0.68, fill=False, edgecolor="0.3"))
            axis.text(x, y + 0.19, FORMULAS[name], ha="center", va="center", weight="bold", size=10.5)
        axis.set(xlim=(-0.4, 4.4), ylim=(-1.4, 1.4))
        axis.axis("off")
        return figure

    def alt(self):
        nodes = "; ".join(
            f"{FORMULAS[name]}: value {_digits(value)}, gradient {_digits(gradient)}"
            for name, (value, gradient) in self._values().items()
        )
        return (
            "A computation graph of f = a × relu(a × b + c), from the inputs a, b and c through d, e and r to f, "
            f"with the value and the gradient of f at each node. {nodes}. The input a feeds both d and f."
        )


def _digits(x):
    return f"{x:z.2f}".replace("-", "−")

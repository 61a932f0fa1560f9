"""Layers to stack, and the square of the picture that one output depends on (chapter 3)."""

import matplotlib.pyplot as plt
import torch
import traitlets
from matplotlib.patches import Rectangle
from torch import nn

from utils import figures
from utils.widgets.figure import Figure, assets

PIXELS = 32  # the picture's height and width
CHANNELS = 16  # of each convolution; the picture has 3
MOST = 8  # layers
# Kernel size, stride, dilation, padding on each side.
KINDS = {
    "conv 3x3": (3, 1, 1, 1),
    "conv 3x3 stride 2": (3, 2, 1, 1),
    "conv 3x3 dilation 2": (3, 1, 2, 2),
    "conv 5x5": (5, 1, 1, 2),
    "conv 1x1": (1, 1, 1, 0),
    "max pool 2x2": (2, 2, 1, 0),
}
COLUMNS = ("layer", "output", "field", "jump", "parameters")


class ReceptiveField(Figure):
    """A stack of layers over a picture of 32x32 pixels, and what one of its outputs depends on (chapter 3).

    layers: up to 8 names of KINDS, the first on the picture. position: [row, column] of a pixel, 0..31; the output
    that lies over it is the one looked at. Each convolution has 16 channels, the picture 3.

    The shade of a pixel is its influence: the gradient of that output with respect to it, if all weights are equal.
    A max pool counts as the mean over its four pixels, as if each were the largest equally often.
    """

    _esm, _css = assets("receptive_field")
    layers = traitlets.List(
        traitlets.Enum(list(KINDS)), ["conv 3x3", "conv 3x3", "max pool 2x2", "conv 3x3", "conv 3x3"], maxlen=MOST
    ).tag(sync=True)
    position = traitlets.List(traitlets.Int(), [16, 16], minlen=2, maxlen=2).tag(sync=True)

    @traitlets.validate("position")
    def _within_the_picture(self, proposal):
        if not all(0 <= pixel < PIXELS for pixel in proposal["value"]):
            raise traitlets.TraitError(f"position is {proposal['value']}; expected row and column in 0..{PIXELS - 1}")
        return proposal["value"]

    @traitlets.validate("layers")
    def _large_enough(self, proposal):
        halvings = [name for name in proposal["value"] if KINDS[name][1] == 2]
        if "max pool 2x2" in halvings[5:]:
            raise traitlets.TraitError("layers has a max pool 2x2 where one pixel is left; leave it out")
        return proposal["value"]

    def _rows(self):
        """(name, output size, receptive field, jump, first pixel of the first output's field, parameters) per layer,
        after a row for the picture."""
        rows, x = [("input", PIXELS, 1, 1, 0, 0)], torch.zeros(1, 3, PIXELS, PIXELS)
        for name in self.layers:
            k, s, d, p = KINDS[name]
            layer = nn.MaxPool2d(k, s) if "pool" in name else nn.Conv2d(x.shape[1], CHANNELS, k, s, p, d)
            x = layer(x)
            _, _, field, jump, first, _ = rows[-1]
            count = sum(parameter.numel() for parameter in layer.parameters())
            rows.append((name, x.shape[-1], field + (k - 1) * d * jump, jump * s, first - p * jump, count))
        return rows

    def _influence(self):
        """What each pixel adds to the output looked at, float64 [32, 32], up to a common factor."""
        x = picture = torch.zeros(1, 1, PIXELS, PIXELS, dtype=torch.float64, requires_grad=True)
        for name in self.layers:
            k, s, d, p = KINDS[name]
            x = nn.functional.conv2d(x, torch.ones(1, 1, k, k, dtype=x.dtype), stride=s, padding=p, dilation=d)
        row, column = (pixel * x.shape[-1] // PIXELS for pixel in self.position)
        return torch.autograd.grad(x[0, 0, row, column], picture)[0][0, 0]

    def _square(self):
        """Top, left and side of the receptive field in pixels; what lies outside the picture is padding."""
        _, size, side, jump, first, _ = self._rows()[-1]
        top, left = (pixel * size // PIXELS * jump + first for pixel in self.position)
        return top, left, side

    def draw(self):
        influence, (top, left, side) = self._influence(), self._square()
        figure, (picture, table) = plt.subplots(1, 2, figsize=(8, 3.8), width_ratios=[1, 1.25])
        picture.imshow(influence.numpy(), cmap="Blues", vmin=0)
        picture.add_patch(
            Rectangle((left - 0.5, top - 0.5), side, side, fill=False, color=figures.COLOURS[1], linewidth=2)
        )
        picture.set(xlim=(-1, PIXELS), ylim=(PIXELS, -1), title="influence on one output")
        picture.grid(False)
        table.axis("off")
        rows = [(_times(name), f"{o}×{o}", f"{r}×{r}", j, f"{n:,}") for name, o, r, j, _, n in self._rows()[1:]]
        if rows:
            widths = [0.36, 0.16, 0.16, 0.12, 0.2]
            cells = table.table(rows, colLabels=COLUMNS, loc="center", colWidths=widths, edges="horizontal")
            cells.auto_set_font_size(False)
            cells.set_fontsize(9)
            cells.scale(1, 1.5)
        return figure

    def alt(self):
        influence, (top, left, side) = self._influence(), self._square()
        strongest = influence.flatten().sort(descending=True).values.cumsum(0)
        seen, most = int((influence > 0).sum()), int((10 * strongest < 9 * strongest[-1]).sum()) + 1
        rows = "; ".join(
            f"{_times(name)}: output {o}×{o}, receptive field {r}×{r}, jump {j}, {n:,} parameters"
            for name, o, r, j, _, n in self._rows()[1:]
        )
        last = PIXELS - 1
        return (
            f"A picture of {PIXELS}×{PIXELS} pixels under a stack of layers ({CHANNELS} channels each). "
            f"{rows or 'No layer yet'}. One output depends on {seen} pixels, in rows {max(top, 0)} to "
            f"{min(top + side - 1, last)} and columns {max(left, 0)} to {min(left + side - 1, last)}, shaded by how "
            f"much: the strongest {most} of them carry 90% of the influence."
        )


def _times(name):
    """The name with a multiplication sign."""
    return name.replace("x", "×").replace("ma×", "max")

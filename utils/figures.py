"""One look for all figures, and alt text with each.

Knows: how a figure is drawn so that it reads in grey, for the colour-blind, on a phone and in the dark, and how it is
shown with its caption and alt text. Doesn't know: what a figure means; the caption is written where it is shown.
"""

import base64
import io

import matplotlib.pyplot as plt
import torch
from cycler import cycler
from IPython.display import Markdown, display

# Okabe and Ito (2008): eight colours that colour-blind readers can tell apart, here the four of clearly different
# lightness that also differ in grey; line styles and markers repeat the distinction without any colour.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7"]
STYLE = {
    "figure.figsize": (6.4, 3.6),
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "axes.prop_cycle": cycler(color=COLOURS)
    + cycler(linestyle=["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))])
    + cycler(marker=["o", "s", "^", "D", "v"]),
    "lines.markersize": 4,
}
plt.rcParams.update(STYLE)


def show(figure, alt, caption=None):
    """Show a figure as PNG with alt text, and its message as a caption below (Markdown); closes the figure.

    alt: what is to be seen, for a reader who can't see it; may quote computed values. Raises ValueError if it is
    shorter than twenty characters: "a plot" tells nobody anything.
    """
    if len(alt) < 20:
        raise ValueError(f"alt text {alt!r} is too short: say what the figure shows, its axes and what to notice")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150, metadata={"Software": None}, facecolor="white")
    plt.close(figure)
    data = {"image/png": base64.b64encode(picture.getvalue()).decode(), "text/plain": alt}
    display(data, metadata={"image/png": {"alt": alt}}, raw=True)
    if caption:
        display(Markdown(f"*{caption}*"))


def image_grid(images, titles=None, columns=8, size=1.0):
    """A grid of images uint8 [N, H, W, C] (C = 1 is grey) with a title each; returns the figure."""
    rows = -(-len(images) // columns)
    height = size + (0.28 if titles else 0)  # inches; room for a title
    figure, axes = plt.subplots(rows, columns, figsize=(size * columns, height * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for i, (image, axis) in enumerate(zip(images, axes.flat, strict=False)):
        axis.imshow(image.squeeze(-1).numpy(), cmap="gray" if image.shape[-1] == 1 else None, vmin=0, vmax=255)
        if titles:
            axis.set_title(titles[i], fontsize=9)
    return figure


def band(axis, x, runs, label, **style):
    """Draw the mean over seeds with a band of one standard deviation: runs [seeds, len(x)]; style: the line's."""
    runs = torch.as_tensor(runs, dtype=torch.float64)
    mean, sd = runs.mean(0), runs.std(0) if len(runs) > 1 else torch.zeros(runs.shape[1])
    (line,) = axis.plot(x, mean, label=label, **style)
    axis.fill_between(x, mean - sd, mean + sd, color=line.get_color(), alpha=0.2, linewidth=0)


def histogram_per_layer(axis, values, bins=60):
    """One outlined histogram per entry of {layer name: tensor}, density on a log scale so that tails show.

    Where a bin is empty, its line has a gap.
    """
    for name, tensor in values.items():
        density, edges = torch.histogram(tensor.detach().float().cpu().flatten(), bins=bins, density=True)
        density[density == 0] = torch.nan
        axis.plot((edges[1:] + edges[:-1]) / 2, density, marker="", label=name)
    axis.set_yscale("log")
    axis.set_ylabel("density")
    axis.legend()

"""Figures: alt text travels with the picture, the same drawing is the same file, bands are means and deviations."""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from utils import figures

ALT = "A line that rises from zero to one."


@pytest.fixture
def shown(monkeypatch):
    calls = []
    monkeypatch.setattr(figures, "display", lambda *data, **options: calls.append((data[0], options)))
    return calls


def draw():
    figure, axis = plt.subplots()
    axis.plot([0, 1], label="line")
    return figure


def test_the_picture_carries_its_alt_text_and_its_caption(shown):
    figures.show(draw(), ALT, caption="It rises.")
    (data, options), (caption, _) = shown
    assert options["metadata"]["image/png"]["alt"] == data["text/plain"] == ALT
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).format == "PNG"
    assert caption.data == "*It rises.*"
    assert not plt.get_fignums()  # closed


def test_the_same_drawing_gives_the_same_file(shown):
    figures.show(draw(), ALT)
    figures.show(draw(), ALT)
    assert shown[0][0]["image/png"] == shown[1][0]["image/png"]


def test_a_figure_without_alt_text_is_refused(shown):
    with pytest.raises(ValueError, match="say what the figure shows"):
        figures.show(draw(), "a plot")
    assert not shown
    plt.close("all")


def test_a_band_is_mean_and_standard_deviation():
    figure, axis = plt.subplots()
    runs = torch.tensor([[1.0, 5.0], [3.0, 9.0], [8.0, 4.0]])
    figures.band(axis, [10, 20], runs, "runs")
    assert axis.lines[0].get_ydata().tolist() == pytest.approx(runs.mean(0).tolist())
    corners = axis.collections[0].get_paths()[0].vertices
    for x, column in ((10, runs[:, 0]), (20, runs[:, 1])):
        heights = corners[corners[:, 0] == x][:, 1]
        assert heights.max() == pytest.approx((column.mean() + column.std()).item())
        assert heights.min() == pytest.approx((column.mean() - column.std()).item())
    plt.close(figure)


def test_an_image_grid_shows_every_image_once():
    images = torch.randint(0, 256, (5, 4, 4, 1), dtype=torch.uint8)
    figure = figures.image_grid(images, titles=list("abcde"), columns=3)
    drawn = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in drawn] == list("abcde")
    for axis, image in zip(drawn, images, strict=True):
        assert axis.images[0].get_array().tolist() == image[..., 0].tolist()
    plt.close(figure)


def test_a_histogram_per_layer_is_a_density_with_a_gap_where_a_bin_is_empty():
    figure, axis = plt.subplots()
    two_values = torch.tensor([0.0] * 3 + [1.0])
    figures.histogram_per_layer(axis, {"first": torch.randn(5000), "second": two_values}, bins=4)
    assert axis.lines[1].get_ydata() == pytest.approx([3, np.nan, np.nan, 1], nan_ok=True)  # a bin is 1/4 wide
    for line in axis.lines:
        x, density = line.get_data()
        assert np.nansum(density * (x[1] - x[0])) == pytest.approx(1, rel=1e-4)
    assert axis.get_yscale() == "log"
    plt.close(figure)

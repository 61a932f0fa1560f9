"""Fine-tuning a whole net from a new head, or from a probed one: what becomes of the feature (chapter 6)."""

import functools
import math

import matplotlib.pyplot as plt
import torch
import traitlets

from utils import figures
from utils.widgets.figure import Figure, assets

HEAD, FEATURE = 1.6, (0.6, 0.45)  # of the truth, w* = HEAD FEATURE
MOST, TURN = 2.0, 20.0  # the range of the head, and of the angle in degrees
RATE, STEPS, PROBE = 0.25, 200, 100  # learning rate, steps in all, steps of the probe
LIMIT = 1.6  # of the window, on each side
METHODS = {"fine-tune": 0, "probe, then fine-tune": PROBE}  # steps in which only the head learns


class FineTuning(Figure):
    """The smallest net of Kumar et al. (2022): f(x) = v b·x with one feature b of two inputs (chapter 6).

    head: v at the start, -2..2. angle: by how many degrees the pretrained b is off the truth's direction, -20..20.

    The data lie along the first input, so the loss is (v b_1 - w*_1)² / 2. With e = v b_1 - w*_1, gradient descent
    moves v by -η e b_1 and b_1 by -η e v, but never b_2; each step multiplies v² - b_1² by 1 - η² e². So at the end
    v b_1 = w*_1 with a v that depends on the first one, and off the data v b_2 is wrong. A probe moves v alone, to
    w*_1 / b_1; if b has the truth's direction, that is the truth, e = 0, and fine-tuning has nothing left to move.
    """

    _esm, _css = assets("fine_tuning")
    head = traitlets.Float(-0.4).tag(sync=True)
    angle = traitlets.Float(0.0).tag(sync=True)

    @traitlets.validate("head", "angle")
    def _within_the_slider(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        most = {"head": MOST, "angle": TURN}[name]
        if not -most <= value <= most:  # refuses nan as well
            raise traitlets.TraitError(f"{name} is {value}; expected -{most:g} to {most:g}")
        return value

    def _runs(self):
        """{method: (v [STEPS + 1], b [STEPS + 1, 2])}, float64."""
        return {name: _run(self.head, self.angle, probe) for name, probe in METHODS.items()}

    def draw(self):
        truth, runs = _truth(), self._runs()
        figure, (plane, curves) = plt.subplots(1, 2, figsize=(8, 3.8))
        plane.axvline(truth[0], color="0.5", linestyle=":", linewidth=1.2)
        for (name, (v, b)), colour, line in zip(runs.items(), figures.COLOURS[1::-1], ("-", "--"), strict=True):
            w = v[:, None] * b
            plane.plot(*w.T, color=colour, linestyle=line, marker="", label=name)
            plane.plot(*w[-1], color=colour, marker="o", markersize=7)
            plane.axline((0, 0), b[-1].tolist(), color=colour, linewidth=0.8, marker="", linestyle="-")
            on, off = (w - truth).abs().T
            curves.plot(off, color=colour, linestyle=line, marker="", label=f"{name}: off the data")
            curves.plot(on, color=colour, linestyle=":", marker="", label=f"{name}: on the data")
        plane.plot(*w[0], color="0.3", marker="s", linestyle="", label="start: v b")
        plane.plot(*truth, color="black", marker="*", markersize=12, linestyle="", label="truth w*")
        plane.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), xlabel="w₁, on the data", ylabel="w₂, off the data")
        plane.legend(fontsize=8, loc="lower right")
        curves.set(xlabel="step", ylabel="error", ylim=(0, None))
        curves.legend(fontsize=8)
        return figure

    def alt(self):
        truth, ends = _truth(), []
        for name, (v, b) in self._runs().items():
            on, off = (v[-1] * b[-1] - truth).abs().tolist()
            ends.append(
                f"{name}: head {v[-1]:.2f}, feature ({b[-1, 0]:.2f}, {b[-1, 1]:.2f}), turned by "
                f"{_turned(b):.0f}°, error {on:.2f} on the data and {off:.2f} off it"
            )
        alt = (
            f"A net f(x) = v b·x in the plane of its weights w = v b, from the head v = {self.head:.2f} and a "
            f"feature b that is {self.angle:.0f}° off, and its errors over {STEPS} steps. Ends: {'; '.join(ends)}."
        )
        return alt.replace(" -", " −").replace("(-", "(−")


def _truth():
    return HEAD * torch.tensor(FEATURE, dtype=torch.float64)


def _turned(b):
    """Degrees between the first and the last feature."""
    cosine = torch.nn.functional.cosine_similarity(b[0], b[-1], dim=0).clamp(-1, 1)
    return math.degrees(torch.acos(cosine).item())


@functools.lru_cache(maxsize=len(METHODS))  # the picture and its alt text show the same
def _run(head, angle, probe):
    turn = math.radians(angle)
    rotation = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]], dtype=torch.float64)
    b = (rotation @ torch.tensor(FEATURE, dtype=torch.float64)).requires_grad_()
    v = torch.tensor(head, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)  # the data: this and multiples of it
    optimizer, heads, features = torch.optim.SGD([v, b], lr=RATE), [v.item()], [b.detach().clone()]
    for step in range(STEPS):
        optimizer.zero_grad()
        ((v * (b @ x) - _truth() @ x) ** 2 / 2).backward()
        if step < probe:
            b.grad = None
        optimizer.step()
        heads.append(v.item())
        features.append(b.detach().clone())
    return torch.tensor(heads, dtype=torch.float64), torch.stack(features)

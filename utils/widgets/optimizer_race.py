"""Optimisers racing over a surface (chapter 5)."""

import functools
import math

import matplotlib.pyplot as plt
import torch
import traitlets

from utils import figures
from utils.widgets.figure import Figure, assets

# f(x, y), the usual start, and the standard deviation of the noise on each component of the gradient.
SURFACES = {
    "valley": (lambda x, y: (x**2 + 25 * y**2) / 2, (-1.8, 0.9), 0.0),
    "saddle": (lambda x, y: x**2 / 2 - y**2 / 2 + y**4 / 4, (-1.8, 0.02), 0.0),
    "Rosenbrock": (lambda x, y: (1 - x) ** 2 / 20 + (y + 1 - x**2) ** 2, (-1.2, 0.0), 0.0),
    "noisy valley": (lambda x, y: (x**2 + 25 * y**2) / 2, (-1.8, 0.9), 2.0),
}
OPTIMIZERS = {
    "gradient descent": lambda groups, momentum: torch.optim.SGD(groups),
    "momentum": lambda groups, momentum: torch.optim.SGD(groups, momentum=momentum),
    "RMSProp": lambda groups, momentum: torch.optim.RMSprop(groups),
    "Adam": lambda groups, momentum: torch.optim.Adam(groups, betas=(momentum, 0.999)),
}
X, Y = 2.0, 1.5  # the window: |x| <= X, |y| <= Y
STEPS = 100
RATES = tuple(10 ** (k / 10 - 3) for k in range(31))


class OptimizerRace(Figure):
    """Gradient descent, momentum, RMSProp and Adam over 100 steps from one start, as in torch.optim (chapter 5).

    surface: "valley" (condition number 25), "saddle", "Rosenbrock" (scaled, and moved so that its minimum is (1, 0)) or
    "noisy valley" (each gradient with the same noise for all). learning_rate: 0.001..1. momentum: 0..0.99, the
    coefficient of momentum and Adam's beta_1. start: [x, y], |x| <= 2, |y| <= 1.5; if not given, each surface's own.
    own_rates: whether each runs with the rate of a grid that is best for it, instead of learning_rate.
    racers: names of those who take part.
    """

    _esm, _css = assets("optimizer_race")
    surface = traitlets.Enum(list(SURFACES), "valley").tag(sync=True)
    learning_rate = traitlets.Float(0.02).tag(sync=True)
    momentum = traitlets.Float(0.9).tag(sync=True)
    start = traitlets.List(traitlets.Float(), minlen=2, maxlen=2).tag(sync=True)
    own_rates = traitlets.Bool(False).tag(sync=True)
    racers = traitlets.List(traitlets.Enum(list(OPTIMIZERS)), list(OPTIMIZERS)).tag(sync=True)

    @traitlets.default("start")
    def _start_of_the_surface(self):
        return list(SURFACES[self.surface][1])

    @traitlets.validate("learning_rate", "momentum")
    def _within_the_slider(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        low, high = {"learning_rate": (0.001, 1), "momentum": (0, 0.99)}[name]
        if not low <= value <= high:  # refuses nan as well
            raise traitlets.TraitError(f"{name} is {value}; expected {low} to {high}")
        return value

    @traitlets.validate("start")
    def _within_the_window(self, proposal):
        x, y = proposal["value"]
        if not (abs(x) <= X and abs(y) <= Y):
            raise traitlets.TraitError(f"start is [{x}, {y}]; expected x in -{X:g}..{X:g} and y in -{Y:g}..{Y:g}")
        return proposal["value"]

    def _race(self):
        """{name: (learning rate, points)} of those who take part."""
        rates = RATES if self.own_rates else (self.learning_rate,)
        return {name: _best(self.surface, name, rates, self.momentum, tuple(self.start)) for name in self.racers}

    def _end(self, points):
        """f at the end of a race in words."""
        if not points[-1].norm() < 1000:
            return "diverged"
        return f"f = {SURFACES[self.surface][0](*points[-1]).item():.2g}"

    def draw(self):
        f = SURFACES[self.surface][0]
        x, y = torch.meshgrid(torch.linspace(-X, X, 161), torch.linspace(-Y, Y, 121), indexing="xy")
        height = f(x, y)
        low, high = height.min(), height.max()
        figure, axis = plt.subplots(figsize=(6.4, 4.6))
        levels = low + (high - low) * ((torch.arange(15) + 0.5) / 15) ** 2
        axis.contour(x, y, height, levels=levels, colors="0.75", linewidths=0.8)
        looks = dict(zip(OPTIMIZERS, figures.STYLE["axes.prop_cycle"], strict=False))  # the fifth is for another time
        for name, (rate, points) in self._race().items():
            kept = points[points.norm(dim=1) < 1000]
            axis.plot(*kept.T, **looks[name], markevery=10, label=f"{name}, rate {rate:.2g}: {self._end(points)}")
        axis.set(xlim=(-X, X), ylim=(-Y, Y), xlabel="x", ylabel="y", title=f"{self.surface}, {STEPS} steps")
        axis.grid(False)
        if self.racers:
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, fontsize=9)
        return figure

    def alt(self):
        race = self._race().items()
        ends = "; ".join(f"{name} at learning rate {rate:.2g}: {self._end(points)}" for name, (rate, points) in race)
        x, y = self.start
        return (
            f"Contours of the surface {self.surface} with the paths of {len(race)} optimisers over {STEPS} steps "
            f"from ({x:.2f}, {y:.2f}), momentum {self.momentum:.2f}. At the end: {ends or 'nobody takes part'}."
        )


@functools.lru_cache(maxsize=len(OPTIMIZERS))  # the picture and its alt text show the same race
def _best(surface, name, rates, momentum, start):
    """(learning rate, points float64 [STEPS + 1, 2]) of an optimiser's way with the lowest end among `rates`."""
    f, _, sd = SURFACES[surface]
    thetas = [torch.tensor(start, dtype=torch.float64, requires_grad=True) for _ in rates]
    groups = [{"params": [theta], "lr": rate} for theta, rate in zip(thetas, rates, strict=True)]
    optimizer, points = OPTIMIZERS[name](groups, momentum), [torch.stack(thetas).detach()]
    for noise in _noise(STEPS):
        optimizer.zero_grad()
        f(*torch.stack(thetas, dim=1)).sum().backward()
        for theta in thetas:
            theta.grad += sd * noise
        optimizer.step()
        points.append(torch.stack(thetas).detach())
    paths = torch.stack(points, dim=1)  # [len(rates), STEPS + 1, 2]
    best = f(*paths[:, -1].T).nan_to_num(nan=math.inf).argmin()
    return rates[best], paths[best]


def _noise(steps):
    """Standard normal numbers, float64 [steps, 2], the same as in optimizer_race.js and each time the same.

    Source: Park and Miller's (1988) generator with multiplier 48271; Box and Muller (1958).
    """
    state, uniform = 1, []
    for _ in range(2 * steps):
        state = state * 48271 % 2147483647
        uniform.append(state / 2147483647)
    first, second = torch.tensor(uniform, dtype=torch.float64).view(steps, 2).T
    radius, angle = (-2 * first.log()).sqrt(), 2 * math.pi * second
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)

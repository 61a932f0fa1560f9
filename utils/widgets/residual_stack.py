"""Products of random matrices, plain and with the identity added to each: what a deep stack does (chapter 4)."""

import functools
import itertools
import math

import matplotlib.pyplot as plt
import torch
import traitlets

from utils import figures
from utils.widgets.figure import Figure, assets

SIZE = 16  # the matrices are SIZE x SIZE
DEPTH, SCALE = 64, 1.5  # the most of each
WARM_UP = 4  # numbers of the generator that are not used: from a small seed the first is small
SHOWN = {"largest": 0, "median": SIZE // 2, "smallest": SIZE - 1}  # places among the singular values, descending


class ResidualStack(Figure):
    """Singular values of J_L ... J_1 and of (I + s J_L) ... (I + s J_1) against the depth (chapter 4).

    The J_l are 16x16, their entries independent normal numbers of variance 1/16. depth: L, 1..64; branch_scale: s,
    0..1.5; seed: of the matrices, 1..10000.

    A long product can't be multiplied out and decomposed: beside the largest singular value, all below 1e-16 of it are
    lost in rounding. So the product is kept as Q R: J Q = Q' T by a QR decomposition, and R' = T R. R's rows fall off
    as the singular values do, and one-sided Jacobi rotations of rows find even the smallest to many digits (Demmel and
    Veselić, 1992).
    """

    _esm, _css = assets("residual_stack")
    depth = traitlets.Int(16).tag(sync=True)
    branch_scale = traitlets.Float(0.25).tag(sync=True)
    seed = traitlets.Int(1).tag(sync=True)

    @traitlets.validate("depth", "branch_scale", "seed")
    def _within_the_slider(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        low, high = {"depth": (1, DEPTH), "branch_scale": (0, SCALE), "seed": (1, 10_000)}[name]
        if not low <= value <= high:  # refuses nan as well
            raise traitlets.TraitError(f"{name} is {value}; expected {low} to {high}")
        return value

    def _products(self):
        """{name: singular values, descending, after 0..depth matrices: float64 [depth + 1, 16]}."""
        return _products(self.depth, self.branch_scale, self.seed)

    def draw(self):
        figure, axis = plt.subplots(figsize=(7, 4))
        for (name, values), colour in zip(self._products().items(), figures.COLOURS[:2], strict=True):
            x, style = torch.arange(len(values)), {"marker": "", "color": colour}
            axis.fill_between(x, values[:, -1], values[:, 0], color=colour, alpha=0.15, linewidth=0)
            for (label, place), line in zip(SHOWN.items(), ("-", "--", ":"), strict=True):
                axis.semilogy(x, values[:, place], linestyle=line, label=f"{name}: {label}", **style)
        axis.set(xlabel="depth: matrices multiplied", ylabel="singular value")
        axis.set_title(f"L = {self.depth}, s = {self.branch_scale:.2f}", fontsize=11)
        axis.legend(fontsize=9)
        return figure

    def alt(self):
        ends = []
        for name, values in self._products().items():
            shown = ", ".join(f"{label} {values[-1, place]:.2g}" for label, place in SHOWN.items())
            ends.append(f"{name}: {shown}, largest over smallest {values[-1, 0] / values[-1, -1]:.2g}")
        return (
            f"Singular values, on a logarithmic scale, of products of up to {self.depth} random matrices of size "
            f"{SIZE}×{SIZE}, against their number. After all: {'; '.join(ends)}. In the residual product each "
            f"matrix is scaled by s = {self.branch_scale:.2f} and added to the identity."
        )


@functools.lru_cache(maxsize=1)  # the picture and its alt text show the same
def _products(depth, scale, seed):
    J = _matrices(depth, seed)
    residual = torch.eye(SIZE, dtype=torch.float64) + scale * J
    return {"plain product": _spectra(J), "residual product": _spectra(residual)}


def _spectra(factors):
    """Singular values, descending, of the products of the first 0, 1, 2, ... factors: [len(factors) + 1, SIZE]."""
    Q = torch.eye(SIZE, dtype=torch.float64)
    triangles = [Q]
    for factor in factors:
        Q, T = torch.linalg.qr(factor @ Q)
        triangles.append(T @ triangles[-1])
    rows = torch.stack(triangles)
    for _ in range(12):  # sweeps; the rows are orthogonal to rounding after 5 to 8
        for i, j in itertools.combinations(range(SIZE), 2):
            u, v = rows[:, i], rows[:, j]
            angle = torch.atan(2 * (u * v).sum(1) / ((u * u).sum(1) - (v * v).sum(1))).nan_to_num(0) / 2
            cosine, sine = angle.cos()[:, None], angle.sin()[:, None]
            rows[:, i], rows[:, j] = cosine * u + sine * v, cosine * v - sine * u
    return rows.norm(dim=2).sort(descending=True).values


def _matrices(count, seed):
    """`count` matrices of normal numbers of variance 1/SIZE, float64 [count, SIZE, SIZE], as in residual_stack.js.

    Source: Park and Miller's (1988) generator with multiplier 48271; Box and Muller (1958).
    """
    state, uniform = seed, []
    for _ in range(count * SIZE * SIZE + WARM_UP):
        state = state * 48271 % 2147483647
        uniform.append(state / 2147483647)
    first, second = torch.tensor(uniform[WARM_UP:], dtype=torch.float64).view(-1, 2).T
    radius, angle = (-2 * first.log()).sqrt(), 2 * math.pi * second
    normal = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    return normal.view(count, SIZE, SIZE) / SIZE**0.5

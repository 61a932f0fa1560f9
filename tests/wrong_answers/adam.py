"""Wrong answers to the exercises of chapter 5."""

import math
import warnings
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from wrong_answers import WrongAnswers

wrong = WrongAnswers()


# ------------------------------------------------------------------------------------------------------------- adam


def step(theta, g, state, lr, beta1=0.9, beta2=0.999, eps=1e-8, mistake="", decay=0.0):
    """Adam's step, with one mistake."""
    if mistake == "betas swapped":
        beta1, beta2 = beta2, beta1
    if mistake == "defaults":
        beta1, beta2, eps = 0.9, 0.999, 1e-8
    if mistake == "in place":
        g += decay * theta
    if mistake == "forgets all":
        state = {}
    t = state.get("t", 0) + (mistake != "t = 0")
    t = {"t stays 1": 1, "t + 1": t + 1}.get(mistake, t)
    old_m = 0 if mistake == "forgets m" else state.get("m", 0)
    old_v = 0 if mistake == "forgets v" else state.get("v", 0)
    m = beta1 * old_m + (1 if mistake == "m sums" else 1 - beta1) * g
    square = {"g": g, "|g|": g.abs()}.get(mistake, g**2)
    v = beta2 * old_v + (1 if mistake == "v sums" else 1 - beta2) * square
    c1 = 1 if mistake in ("no correction", "m uncorrected") else 1 - beta1**t
    c2 = 1 if mistake in ("no correction", "v uncorrected") else 1 - beta2**t
    m_hat, v_hat = (m * math.inf * 0, v) if t == 0 else (m / c1, v / c2)
    state.update(t=state.get("t", 0) + (mistake != "t = 0"), m=m, v=v)
    if mistake == "keeps corrected":
        state.update(m=m_hat, v=v_hat)
    divisor = v_hat.sqrt() + eps
    if mistake == "eps inside":
        divisor = (v_hat + eps).sqrt()
    if mistake == "eps early":
        divisor = (v.sqrt() + eps) / math.sqrt(c2)
    if mistake == "no eps":
        divisor = v_hat.sqrt()
    if mistake == "no root":
        divisor = v_hat + eps
    if mistake == "momentum":
        divisor = 1
    move = (1 if mistake == "no lr" else lr) * m_hat / divisor
    return theta + move if mistake == "uphill" else theta - move


for mistake, message in {
    "no correction": "neither m nor v is corrected",
    "m uncorrected": "v is corrected, m is not",
    "v uncorrected": "m is corrected, v is not",
    "t = 0": "step 1 is NaN, 0/0: with t = 0",
    "t stays 1": "step 2 is the first that goes wrong: right shape, wrong values: t stays 1",
    "t + 1": "t is one too large",
    "forgets all": "nothing is kept in `state`",
    "forgets m": "m starts at zero in every step",
    "forgets v": "v starts at zero in every step",
    "keeps corrected": "step 2 is the first that goes wrong: right shape, wrong values: the corrected m and v are kept",
    "eps inside": "step 1 is the first that goes wrong: right shape, wrong values: eps stands under the root",
    "eps early": "eps is added before v is corrected",
    "no eps": "eps isn't used",
    "no root": "the root is missing",
    "momentum": "that is momentum",
    "betas swapped": "the betas have changed places",
    "defaults": "beta1, beta2 and eps are written out",
    "m sums": "values 3.333 times too large: the new gradient enters m without its factor",
    "v sums": "the new gradient enters v without its factor",
    "g": "NaN wherever g is negative",
    "|g|": "v averages |g|",
    "uphill": "sign flipped: a step goes against the gradient",
    "no lr": "values 10 times too large: lr isn't used",
}.items():
    wrong("adam", message)(partial(step, mistake=mistake))


class Remembers:
    """Adam with a state of its own, which the second run of ten steps finds as the first has left it."""

    calls = 0

    def __call__(self, theta, g, state, lr, beta1, beta2, eps):
        if self.calls % 20 == 0:
            self.state = {}
        self.calls += 1
        return step(theta, g, self.state, lr, beta1, beta2, eps)


wrong("adam", "a second run with an empty state takes other steps")(Remembers())


@wrong("adam", "adam: changes its input `theta` in place")
def in_place(theta, g, state, lr, beta1, beta2, eps):
    return theta.copy_(step(theta, g, state, lr, beta1, beta2, eps))


@wrong("adam", "adam: changes its input `g` in place")
def gradient_in_place(theta, g, state, lr, beta1, beta2, eps):
    return step(theta, g.mul_(2), state, lr, beta1, beta2, eps)


@wrong("adam", "KeyError in line")
def no_start(theta, g, state, lr, beta1, beta2, eps):
    state["t"] += 1


@wrong("adam", "step 1: shape [3, 5, 1] instead of [3, 5]")
def other_shape(theta, g, state, lr, beta1, beta2, eps):
    return step(theta, g, state, lr, beta1, beta2, eps)[..., None]


@wrong("adam", "gives None: is the `return` missing?")
def no_return(theta, g, state, lr, beta1, beta2, eps):
    step(theta, g, state, lr, beta1, beta2, eps)


# ------------------------------------------------------------------------------------------------------- heavy-ball


def best_momentum(lr, mu, L, choice):
    low, high = 1 - math.sqrt(lr * mu), math.sqrt(lr * L) - 1
    right = max(low, high) ** 2
    return {
        "not squared": max(low, high),
        "mu alone": low**2,
        "L alone": high**2,
        "of the best rate": ((math.sqrt(L) - math.sqrt(mu)) / (math.sqrt(L) + math.sqrt(mu))) ** 2,
        "no root": max(1 - lr * mu, lr * L - 1) ** 2,
        "plus": (1 + math.sqrt(lr * mu)) ** 2,
        "0.9": 0.9,
        "nearly": right * 1.001,
        "mu or L": low**2 if lr * L < 2 else high**2 if lr < 1 else 0.0,
        "word": "beta",
    }[choice]


for choice, message in {
    "not squared": "(a step leaves 0.9093 of the error, at best 0.8268): 0.826795 instead of 0.68359: that is √β",
    "mu alone": "for lr = 0.5, mu = 0.3, L = 7.0 (a step leaves 1.93 of the error, at best 0.8708): 0.375403 instead "
    "of 0.758343: at this rate the largest curvature decides",
    "L alone": "at this rate the smallest curvature decides",
    "of the best rate": "that belongs to the best rate",
    "no root": "a root is missing",
    "plus": "the square of the wrong bracket",
    "0.9": "beta depends on lr, mu and L",
    "nearly": "instead of 0.683",
    "mu or L": "for lr = 3.0, mu = 0.5, L = 0.6",
    "word": "does this return what the task asks for?",
}.items():
    wrong("heavy-ball", message)(partial(best_momentum, choice=choice))


# ------------------------------------------------------------------------------------------------------------ adamw


def decoupled(theta, g, state, lr, weight_decay, beta1, beta2, eps, mistake):
    """A step of AdamW, with one mistake."""
    options = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
    if mistake == "divided by root":
        step(theta, g, state, **options)
        m, v = (state[name] / (1 - beta ** state["t"]) for name, beta in (("m", beta1), ("v", beta2)))
        return theta - lr * (m + weight_decay * theta) / (v.sqrt() + eps)
    in_gradient = weight_decay * theta if mistake in ("l2", "both") else 0
    new = step(theta, g + in_gradient, state, mistake=mistake, **options)
    if mistake == "only decay" and weight_decay:
        new = theta
    rate = {"no lr": 1, "lr twice": lr**2, "grows": -lr, "l2": 0, "none": 0}.get(mistake, lr)
    if mistake == "no lr":
        new = step(theta, g, state, **options)
    return new * (1 - rate * weight_decay) if mistake == "after" else new - rate * weight_decay * theta


for mistake, message in {
    "l2": "the decay is still in the gradient",
    "both": "the decay is taken twice",
    "none": "nothing decays",
    "lr twice": "multiplied by lr twice",
    "grows": "the decay lets the weights grow",
    "after": "the step decays as well",
    "divided by root": "the decay is divided by √v",
    "only decay": "the step itself is missing",
    "no correction": "with weight_decay = 0, step 1 is the first that goes wrong: right shape, wrong values: neither",
}.items():
    wrong("adamw", message)(partial(decoupled, mistake=mistake))


@wrong("adamw", "the decay isn't multiplied by lr")
def decay_without_lr(theta, g, state, lr, weight_decay, beta1, beta2, eps):
    return step(theta, g, state, lr, beta1, beta2, eps) - weight_decay * theta


@wrong("adamw", "changes its input `theta` in place")
def decays_in_place(theta, g, state, lr, weight_decay, beta1, beta2, eps):
    theta *= 1 - lr * weight_decay
    theta -= 1e-3
    return step(theta, g, state, lr, beta1, beta2, eps)


# --------------------------------------------------------------------------------------------------------- schedule


def rate(step, steps, warmup, peak, final, mistake):
    """The rate of a step, with one mistake."""
    warm = {
        "from 0": step / max(warmup, 1),
        "peak too late": (step + 1) / (warmup + 1),
    }.get(mistake, (step + 1) / max(warmup, 1))
    if mistake == "unguarded":
        warm = (step + 1) / warmup
    progress = {
        "one step short": (step - warmup) / (steps - warmup),
        "one step early": (step + 1 - warmup) / (steps - warmup),
        "clock from 0": step / (steps - 1),
        "product": step / (steps - 1),
        "period of all": (step - warmup) / (steps - 1),
        "no warm-up, from 0": step / (steps - 1),
    }.get(mistake, (step - warmup) / (steps - 1 - warmup))
    angle = math.pi * progress * {"full": 2, "quarter": 0.5, "degrees": 180 / math.pi}.get(mistake, 1)
    share = (1 + math.cos(angle)) / 2
    low = 0.0 if mistake in ("final unused", "final added") else final
    later = {
        "constant": peak,
        "line": peak + (final - peak) * progress,
        "rises": final + (peak - final) * (1 - share),
    }.get(mistake, low + (peak - low) * share)
    if mistake == "final added":
        later += final
    if mistake == "product":
        return later * min(1, warm)
    if mistake == "no warm-up":
        return peak if step < warmup else later
    if mistake == "no warm-up, from 0":
        return later
    if mistake == "list":
        return [later]
    if mistake == "peak fixed":
        return later / peak
    return peak * warm if step < warmup else later


for mistake, message in {
    "from 0": "step 0 is the first that goes wrong: right shape, wrong values: the warm-up starts at 0",
    "peak too late": "the warm-up's last step doesn't reach the peak",
    "unguarded": "ZeroDivisionError in line",
    "one step short": "step 8 is the first that goes wrong: right shape, wrong values: the rate doesn't reach `final`",
    "one step early": "the cosine begins a step early",
    "clock from 0": "the cosine's clock starts at step `warmup`",
    "period of all": "the cosine runs over steps - 1 - warmup steps",
    "product": "the whole curve, cosine included",
    "full": "the rate comes back to the peak",
    "quarter": "that is a quarter of a period",
    "degrees": "the cosine is given degrees",
    "constant": "the rate stays at its peak",
    "line": "along a straight line",
    "rises": "the cosine rises",
    "final unused": "for steps = 29, warmup = 1, peak = 2.0, final = 0.5: step 2 is the first that goes wrong: right "
    "shape, wrong values: `final` isn't used",
    "final added": "`final` is added to a cosine",
    "no warm-up": "wrong values: the warm-up is missing",
    "no warm-up, from 0": "the cosine begins at step 0",
    "list": "does this return what the task asks for? With it, the check fails with TypeError: float() argument",
    "peak fixed": "step 0 is the first that goes wrong: right shape",
}.items():
    wrong("schedule", message)(partial(rate, mistake=mistake))


# ---------------------------------------------------------------------------------------------------- mend-training


def fine_tune(model, batches, epochs, lr, classes, mistake):
    """The training loop, with one mistake; of some of them torch warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        train_wrongly(model, batches, epochs, lr, classes, mistake)


def train_wrongly(model, batches, epochs, lr, classes, mistake):
    def optimizer_of(parameters):
        name = "SGD" if mistake == "sgd" else "AdamW"
        return getattr(torch.optim, name)(parameters, lr=lr)

    optimizer = optimizer_of(model.parameters())
    head = nn.Linear(model.head.in_features, classes)
    if mistake != "no head":
        model.head = head
    if mistake == "head alone":
        optimizer = optimizer_of(model.head.parameters())
    elif mistake != "built too early":
        optimizer = optimizer_of(model.parameters())
    period = {
        "period in epochs": epochs,
        "stairs": epochs,
        "period of an epoch": len(batches),
    }.get(mistake, epochs * len(batches))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, period)
    if mistake == "no step":
        return
    if mistake == "frozen":
        model.body.requires_grad_(False)
    for _ in range(epochs):
        if mistake == "zeroed per epoch":
            optimizer.zero_grad()
        if mistake == "optimizer per epoch":
            optimizer = optimizer_of(model.parameters())
        for x, y in batches:
            if mistake not in ("never zeroed", "zeroed per epoch"):
                optimizer.zero_grad()
            if mistake == "other images":
                x = 2 * x
            F.cross_entropy(model(x), y, reduction="sum" if mistake == "sum" else "mean").backward()
            if mistake == "zeroed too late":
                optimizer.zero_grad()
            if mistake == "schedule first":
                schedule.step()
            if mistake != "step per epoch":
                optimizer.step()
            if mistake not in ("schedule first", "per epoch", "stairs", "no schedule"):
                schedule.step()
        if mistake == "step per epoch":
            optimizer.step()
        if mistake in ("per epoch", "stairs"):
            schedule.step()
    if mistake == "another head in the end":
        model.head = nn.Linear(model.head.in_features, classes)


for mistake, message in {
    "no head": "the model is trained with 10 outputs, not 4: give it its new head first",
    "another head in the end": "model.head is replaced after the last step",
    "built too early": "head.weight, head.bias: the optimizer doesn't update them; it was built before",
    "frozen": "body.0.weight, body.0.bias: frozen",
    "head alone": "body.0.weight, body.0.bias: the optimizer doesn't update them; give it model.parameters()",
    "no step": "no optimizer of torch.optim takes a step",
    "sgd": "keep AdamW; this is SGD",
    "optimizer per epoch": "3 optimizers take steps",
    "step per epoch": "3 steps; 3 epochs of 5 batches are 15",
    "never zeroed": "they are the sum over all batches so far",
    "zeroed per epoch": "they are the sum over all batches of this epoch",
    "zeroed too late": "zero_grad() comes before backward(), not after it",
    "other images": "optimizer.step() comes before any of `batches` went through the model",
    "sum": "they are the sum over the images of a batch",
    "per epoch": "its period is counted in batches: the rate hardly falls",
    "stairs": "the rate falls in stairs",
    "period in epochs": "its period is counted in epochs",
    "period of an epoch": "the period is one epoch",
    "schedule first": "the first rate is skipped",
    "no schedule": "schedule.step() is missing",
}.items():
    wrong("mend-training", message)(partial(fine_tune, mistake=mistake))

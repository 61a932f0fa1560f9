"""Checks for the exercises of chapter 5, Adam.

The oracle is torch.optim. Gradients are drawn beforehand, so that one wrong step doesn't change those that follow; lr,
betas and eps are far from the usual ones, so that none can be left out unseen.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.optimizer import register_optimizer_step_pre_hook

from utils.exercises import CheckFailed, Checks, call, compare
from utils.records import number

check = Checks()

STEPS, LR, BETA1, BETA2, EPS, DECAY = 10, 0.1, 0.7, 0.95, 0.05, 0.3
OPTIONS = {"beta1": BETA1, "beta2": BETA2, "eps": EPS}


# ----------------------------------------------------------------------------------------------------- adam and adamw


@check.exercise("adam")
def check_adam(adam_step):
    error = _check_adam(adam_step, {})
    early = (1 - 0.9) / math.sqrt(1 - 0.999)
    return (
        f"torch.optim.Adam takes the same {STEPS} steps, to {number(error, 1)}. Without the two corrections, the "
        f"first step at the usual betas would be {early:.2f} times as long."
    )


@check.exercise("adamw")
def check_adamw(adamw_step):
    _check_adam(adamw_step, {"weight_decay": 0.0}, "with weight_decay = 0, ")
    gradients, start = _gradients()
    thetas, states = _by_torch(torch.optim.AdamW, gradients, start, DECAY)
    theta, adam = thetas[:-1], _by_torch(torch.optim.Adam, gradients, start)[0].diff(dim=0)

    def decay_over_sqrt_v(m_hat, v_hat, t):
        return (m_hat + DECAY * theta[t - 1]) / (v_hat.sqrt() + EPS)

    suspects = {
        "the decay is still in the gradient, so Adam divides it by √v": _simulate(gradients + DECAY * theta),
        "the decay is taken twice, in the gradient and from θ": _simulate(gradients + DECAY * theta)
        - LR * DECAY * theta,
        "nothing decays: weight_decay isn't used": adam,
        "the decay isn't multiplied by lr, so a schedule for lr leaves it as it is": adam - DECAY * theta,
        "the decay is multiplied by lr twice": adam - LR**2 * DECAY * theta,
        "the decay lets the weights grow: its sign is wrong": adam + LR * DECAY * theta,
        "the step decays as well: shrink the θ that you were given, then add the step": (theta + adam)
        * (1 - LR * DECAY)
        - theta,
        "the decay is divided by √v: it stands with m, over the root": _simulate(gradients, divide=decay_over_sqrt_v),
        "the step itself is missing: only the decay is left": -LR * DECAY * theta,
    }
    steps = _steps(adamw_step, gradients, thetas, {"weight_decay": DECAY})
    compare(steps, thetas.diff(dim=0), suspects, tolerance=1e-6, of=_first_wrong(steps, thetas.diff(dim=0)))
    divisors = states["exp_avg_sq"].sqrt() + EPS
    uneven = (divisors.max() / divisors.min()).item()
    return (
        f"torch.optim.AdamW takes the same {STEPS} steps: all weights lose {LR * DECAY:.0%} a step. Inside the "
        f"gradient, the decay of some would end up {uneven:.0f} times as strong as that of others."
    )


def _check_adam(step, more, of=""):
    """Compare the steps of `step` with torch.optim.Adam's; the largest difference. more: options before the betas."""
    gradients, start = _gradients()
    thetas, _ = _by_torch(torch.optim.Adam, gradients, start)
    steps, expected = _steps(step, gradients, thetas, more), thetas.diff(dim=0)
    first = steps[0].isnan()
    if first.all():
        raise CheckFailed(f"{of}step 1 is NaN, 0/0: with t = 0 the correction divides by 1 - beta^0 = 0; t starts at 1")
    if torch.equal(first, gradients[0] < 0):
        raise CheckFailed(f"{of}step 1 is NaN wherever g is negative: v averages g², of which a root can be taken")
    plain = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    suspects = {
        "neither m nor v is corrected: divide them by 1 - beta1^t and 1 - beta2^t": _simulate(gradients, correct=""),
        "v is corrected, m is not: divide it by 1 - beta1^t": _simulate(gradients, correct="v"),
        "m is corrected, v is not: divide it by 1 - beta2^t": _simulate(gradients, correct="m"),
        "t stays 1: count it in `state`": _simulate(gradients, count=lambda t: 1),
        "t is one too large: the first step has t = 1": _simulate(gradients, count=lambda t: t + 1),
        "nothing is kept in `state` from step to step": _simulate(gradients, count=lambda t: 1, forget="mv"),
        "m starts at zero in every step: keep it in `state`": _simulate(gradients, forget="m"),
        "v starts at zero in every step: keep it in `state`": _simulate(gradients, forget="v"),
        "the corrected m and v are kept; the state is the plain averages, or they are corrected again and again": (
            _simulate(gradients, keep_corrected=True)
        ),
        "eps stands under the root; it is added to √v": _simulate(
            gradients, divide=lambda m, v, t: m / (v + EPS) ** 0.5
        ),
        "eps is added before v is corrected; it is added to the root of the corrected v": _simulate(
            gradients, divide=lambda m, v, t: m / (v.sqrt() + EPS / math.sqrt(1 - BETA2**t))
        ),
        "eps isn't used: it is left out, or written out in the function": _simulate(gradients, eps=0.0),
        "the root is missing: m is divided by v": _simulate(gradients, divide=lambda m, v, t: m / (v + EPS)),
        "the division by √v is missing: that is momentum": _simulate(gradients, divide=lambda m, v, t: m),
        "the betas have changed places": _simulate(gradients, beta1=BETA2, beta2=BETA1),
        "beta1, beta2 and eps are written out in the function, where the arguments should stand": (
            _simulate(gradients, **plain)
        ),
        "the new gradient enters m without its factor 1 - beta1": expected / (1 - BETA1),
        "the new gradient enters v without its factor 1 - beta2": _simulate(
            gradients, divide=lambda m, v, t: m / ((v / (1 - BETA2)).sqrt() + EPS)
        ),
        "v averages |g|; it averages g²": _simulate(gradients, square=torch.abs),
        "a step goes against the gradient: subtract it": -expected,
        "lr isn't used": expected / LR,
    }
    compare(steps, expected, suspects, tolerance=1e-6, of=of + _first_wrong(steps, expected))
    if not torch.equal(_steps(step, gradients, thetas, more), steps):
        raise CheckFailed(f"{of}a second run with an empty state takes other steps: keep m, v, t in `state` alone")
    return (steps - expected).abs().max().item()


def _gradients():
    """Gradients [STEPS, 3, 5] of very different size per column, and parameters [3, 5] to start from, float64."""
    scale = torch.tensor([0.02, 0.1, 1.0, 3.0, 10.0], dtype=torch.float64)
    return scale * (torch.randn(STEPS, 3, 5, dtype=torch.float64) + 0.5), torch.randn(3, 5, dtype=torch.float64)


def _by_torch(optimizer, gradients, start, decay=0.0):
    """The parameters [STEPS + 1, 3, 5] that torch's optimizer goes through, and its state in the end."""
    theta = start.clone().requires_grad_()
    optimizer = optimizer([theta], lr=LR, betas=(BETA1, BETA2), eps=EPS, weight_decay=decay)
    thetas = [start]
    for theta.grad in gradients:
        optimizer.step()
        thetas.append(theta.detach().clone())
    return torch.stack(thetas), optimizer.state[theta]


def _steps(step, gradients, thetas, more):
    """How far the answer moves away from each of `thetas`, [STEPS, 3, 5]; it keeps one state for all."""
    state, steps = {}, []
    for t, (theta, g) in enumerate(zip(thetas[:-1], gradients, strict=True)):
        new = call(step, theta=theta.clone(), g=g.clone(), state=state, lr=LR, **more, **OPTIONS)
        if not isinstance(new, torch.Tensor) or new.shape != theta.shape or new.dtype != theta.dtype:
            compare(new, thetas[t + 1], of=f"step {t + 1}")
        steps.append(new.detach() - theta)
    return torch.stack(steps)


def _first_wrong(steps, expected):
    """ "step 2 is the first that goes wrong" (nothing if all are right), to be said before a diagnosis."""
    right = torch.isclose(steps, expected, rtol=0, atol=1e-6 * expected.abs().max().item()).flatten(1).all(1)
    return "" if right.all() else f"step {right.long().argmin() + 1} is the first that goes wrong"


def _simulate(
    gradients,
    beta1=BETA1,
    beta2=BETA2,
    eps=EPS,
    correct="mv",
    forget="",
    keep_corrected=False,
    square=torch.square,
    count=lambda t: t,
    divide=None,
):
    """The steps of Adam, [STEPS, 3, 5], with something wrong: `divide` gives a step from the corrected m, v and t."""
    divide = divide or (lambda m_hat, v_hat, t: m_hat / (v_hat.sqrt() + eps))
    m = v = torch.zeros_like(gradients[0])
    steps = []
    for t, g in enumerate(gradients, 1):
        t = count(t)
        m = beta1 * (0 if "m" in forget else m) + (1 - beta1) * g
        v = beta2 * (0 if "v" in forget else v) + (1 - beta2) * square(g)
        m_hat = m / (1 - beta1**t) if "m" in correct else m
        v_hat = v / (1 - beta2**t) if "v" in correct else v
        steps.append(-LR * divide(m_hat, v_hat, t))
        if keep_corrected:
            m, v = m_hat, v_hat
    return torch.stack(steps)


# --------------------------------------------------------------------------------------------------------- heavy-ball


@check.exercise("heavy-ball")
def check_heavy_ball(best_momentum):
    for lr, mu, L in ((0.1, 0.3, 7.0), (0.5, 0.3, 7.0), (1.0, 0.5, 0.5), (3.0, 0.5, 0.6)):
        low, high = 1 - math.sqrt(lr * mu), math.sqrt(lr * L) - 1
        root, kappa = max(low, high), L / mu
        beta = float(call(best_momentum, lr=lr, mu=mu, L=L))
        suspects = {
            "that is √β, what a step leaves of the error": root,
            "at this rate the largest curvature decides: for L, the roots are real and the errors oscillate": low**2,
            "at this rate the smallest curvature decides: for mu, the roots are real and the error creeps": high**2,
            "that belongs to the best rate for mu and L; here lr is given": (
                ((math.sqrt(kappa) - 1) / (math.sqrt(kappa) + 1)) ** 2
            ),
            "a root is missing: the discriminant vanishes where ηλ = (1 ± √β)²": max(1 - lr * mu, lr * L - 1) ** 2,
            "the square of the wrong bracket: 1 - √(ημ), not 1 + √(ημ)": (1 + math.sqrt(lr * mu)) ** 2,
            "beta depends on lr, mu and L": 0.9,
        }
        suspects = {cause: torch.tensor(value, dtype=torch.float64) for cause, value in suspects.items()}
        share = _rate(lr, beta, mu, L)
        given = f"for lr = {lr}, mu = {mu}, L = {L} (a step leaves {share:.4g} of the error, at best {root:.4g})"
        compare(beta, torch.tensor(root**2, dtype=torch.float64), suspects, of=given)
    none, best, much = (_rate(0.01, beta, 1.0, 1.0) for beta in (0.0, float(best_momentum(0.01, 1.0, 1.0)), 0.99))
    return (
        f"Where ηλ = 0.01, a step leaves {best:.2f} of the error at the best β, {none:.2f} without momentum and "
        f"{much:.3f} at β = 0.99: too much is slower than none."
    )


def _rate(lr, beta, mu, L):
    """What a step of heavy ball leaves of the error at the worst curvature: the largest root of r² - (1+β-ηλ)r + β."""
    curvature = torch.linspace(mu, L, 101, dtype=torch.float64)
    companion = torch.zeros(len(curvature), 2, 2, dtype=torch.float64)
    companion[:, 0, 0], companion[:, 0, 1], companion[:, 1, 0] = 1 + beta - lr * curvature, -beta, 1
    return torch.linalg.eigvals(companion).abs().max().item()


# ----------------------------------------------------------------------------------------------------------- schedule


@check.exercise("schedule")
def check_schedule(learning_rate_at):
    cases = ((41, 7, 0.3, 0.0), (29, 1, 2.0, 0.5), (26, 0, 0.3, 0.06), (33, 12, 5.0, 1.0))
    for steps, warmup, peak, final in cases:
        options = {"steps": steps, "warmup": warmup, "peak": peak, "final": final}
        given = "for " + ", ".join(f"{name} = {value}" for name, value in options.items())
        rates = [call(learning_rate_at, step=step, **options) for step in range(steps)]
        rates = torch.tensor([float(rate) for rate in rates], dtype=torch.float64)
        expected = _schedule(**options)
        wrong = (rates - expected).abs() > 1e-6 * peak
        if wrong.any():
            first = wrong.long().argmax().item()
            of = f"{given}: step {first} is the first that goes wrong"
            compare(rates, expected, _wrong_schedules(**options), {}, 1e-6, of)
    steps, warmup, peak, final = cases[0]
    mean = _schedule(*cases[0]).mean().item() / peak
    return f"CosineAnnealingLR agrees. Over {steps} steps, {warmup} to warm up, the mean is {mean:.0%} of the peak."


def _schedule(steps, warmup, peak, final):
    """The rates [steps]: the warm-up's, then those of torch's CosineAnnealingLR."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    cosine = CosineAnnealingLR(optimizer, steps - 1 - warmup, eta_min=final)
    rates = [peak * (step + 1) / warmup for step in range(warmup)]
    for _ in range(warmup, steps):
        rates.append(cosine.get_last_lr()[0])
        optimizer.step()
        cosine.step()
    return torch.tensor(rates, dtype=torch.float64)


def _wrong_schedules(steps, warmup, peak, final):
    step = torch.arange(steps, dtype=torch.float64)

    def cosine(progress, low=final, turns=0.5):
        return low + (peak - low) / 2 * (1 + torch.cos(2 * math.pi * turns * progress))

    def warm(later, start=None):
        return torch.where(step < warmup, (step + 1) / max(warmup, 1) * peak if start is None else start, later)

    progress = (step - warmup) / (steps - 1 - warmup)
    right = cosine(progress)
    return {
        "the warm-up is missing": right.where(step >= warmup, cosine(0 * step)),
        "the warm-up is missing, and the cosine begins at step 0": cosine(step / (steps - 1)),
        "after the warm-up the rate stays at its peak": warm(peak + 0 * step),
        "the warm-up starts at 0, so the first step does nothing; at step 0 it is peak/warmup": warm(
            right, step / max(warmup, 1) * peak
        ),
        "the warm-up's last step doesn't reach the peak: step warmup - 1 should": warm(
            right, (step + 1) / (warmup + 1) * peak
        ),
        "the rate doesn't reach `final`: from step warmup to step steps - 1 there are steps - 1 - warmup steps": warm(
            cosine((step - warmup) / (steps - warmup))
        ),
        "the cosine begins a step early; at step `warmup` the rate is still the peak": warm(
            cosine((step + 1 - warmup) / (steps - warmup))
        ),
        "after the warm-up the rate jumps: the cosine's clock starts at step `warmup`, not at 0": warm(
            cosine(step / (steps - 1))
        ),
        "after the warm-up the rate jumps: the cosine runs over steps - 1 - warmup steps, not over all": warm(
            cosine((step - warmup) / (steps - 1))
        ),
        "the whole curve, cosine included, is multiplied by the warm-up": cosine(step / (steps - 1))
        * ((step + 1) / max(warmup, 1)).clamp(max=1),
        "the rate comes back to the peak: the cosine runs over half a period, π": warm(cosine(progress, turns=1.0)),
        "that is a quarter of a period; the cosine runs over half of one, π": warm(cosine(progress, turns=0.25)),
        "the cosine is given degrees; math.cos takes radians, π for half a period": warm(
            cosine(progress, turns=90 / math.pi)
        ),
        "the rate falls along a straight line, not along a cosine": warm(peak + (final - peak) * progress),
        "`final` isn't used: the rate falls to 0": warm(cosine(progress, low=0.0)),
        "`final` is added to a cosine that starts at the peak; it starts at peak - final": warm(
            cosine(progress, low=0.0) + final
        ),
        "the cosine rises: its sign is wrong": warm(final + peak - right),
    }


# ------------------------------------------------------------------------------------------------------ mend-training

EPOCHS, BATCHES, CLASSES = 3, 5, 4


@check.exercise("mend-training")
def check_mend_training(fine_tune):
    model = _Pretrained()
    generator = torch.Generator().manual_seed(5)
    data = [(torch.randn(n, 6, generator=generator), torch.arange(n) % CLASSES) for n in (8, 8, 8, 8, 5)]
    records = []
    watch = register_optimizer_step_pre_hook(lambda optimizer, *_: records.append(_record(optimizer, model, data)))
    try:
        call(fine_tune, model=model, batches=data, epochs=EPOCHS, lr=LR, classes=CLASSES)
    finally:
        watch.remove()
    _check_steps(model, records)
    fresh, found = (torch.stack([record[key] for record in records]) for key in ("fresh", "found"))
    if not found.any():
        raise CheckFailed("optimizer.step() finds no gradients: zero_grad() comes before backward(), not after it")
    per_epoch = fresh.reshape(EPOCHS, BATCHES, -1)
    sizes = torch.tensor([len(labels) for _, labels in data]).repeat(EPOCHS)[:, None]
    suspects = {
        "they are the sum over all batches so far: without zero_grad(), backward() adds to what is there": (
            fresh.cumsum(0)
        ),
        "they are the sum over all batches of this epoch: zero_grad() is needed for every batch": (
            per_epoch.cumsum(1).flatten(0, 1)
        ),
        "they are the sum over the images of a batch; their mean is asked for": fresh * sizes,
    }
    compare(found, fresh, suspects, tolerance=1e-4, of="the gradients that optimizer.step() sees")
    _check_rates(records)
    last = records[-1]["lr"] / LR
    return (
        f"{len(records)} steps, by the gradients of one batch each, for all parameters; the last at {last:.1%} of lr."
    )


class _Pretrained(nn.Module):
    """A net for ten classes that remembers the batch that it saw last."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 7), nn.Tanh())
        self.head = nn.Linear(7, 10)

    def forward(self, x):
        self.seen = x
        return self.head(self.body(x))


def _record(optimizer, model, data):
    """What an optimizer finds when its step begins, and the gradients that the batch of this step has by itself."""
    labels = [labels for x, labels in data if torch.equal(x, getattr(model, "seen", torch.empty(0)))]
    if not labels:
        raise CheckFailed("optimizer.step() comes before any of `batches` went through the model, as it is given")
    if frozen := [name for name, parameter in model.named_parameters() if not parameter.requires_grad]:
        raise CheckFailed(f"{', '.join(frozen)}: frozen (requires_grad = False), but the whole model should be trained")
    with torch.enable_grad():
        logits = model.head(model.body(model.seen))
        if logits.shape[1] != CLASSES:
            raise CheckFailed(
                f"the model is trained with {logits.shape[1]} outputs, not {CLASSES}: give it its new head first"
            )
        fresh = torch.autograd.grad(F.cross_entropy(logits, labels[0]), list(model.parameters()))
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return {
        "optimizer": optimizer,
        "head": model.head,
        "lr": optimizer.param_groups[0]["lr"],
        "fresh": torch.cat([gradient.flatten() for gradient in fresh]),
        "found": torch.cat([gradient.flatten() for gradient in found]).clone(),
    }


def _check_steps(model, records):
    """One step of one AdamW per batch, which moves every parameter of the model with its new head."""
    if not records:
        raise CheckFailed("no optimizer of torch.optim takes a step")
    if records[-1]["head"] is not model.head:
        raise CheckFailed("model.head is replaced after the last step: what the head has learned is lost")
    held = {id(parameter) for group in records[-1]["optimizer"].param_groups for parameter in group["params"]}
    if missing := [name for name, parameter in model.named_parameters() if id(parameter) not in held]:
        built = "it was built before model.head was replaced, and still holds the old one"
        if "body.0.weight" in missing:
            built = "give it model.parameters()"
        raise CheckFailed(f"{', '.join(missing)}: the optimizer doesn't update them; {built}")
    optimizers = {id(record["optimizer"]) for record in records}
    if len(optimizers) > 1:
        raise CheckFailed(
            f"{len(optimizers)} optimizers take steps: each new one forgets m and v; make one for all epochs"
        )
    if not isinstance(records[0]["optimizer"], torch.optim.AdamW):
        raise CheckFailed(f"keep AdamW; this is {type(records[0]['optimizer']).__name__}")
    if len(records) != EPOCHS * BATCHES:
        raise CheckFailed(
            f"{len(records)} steps; {EPOCHS} epochs of {BATCHES} batches are {EPOCHS * BATCHES}, one per batch"
        )


def _check_rates(records):
    """lr falls along half a cosine, from step to step."""
    step = torch.arange(EPOCHS * BATCHES, dtype=torch.float64)

    def cosine(at, period=EPOCHS * BATCHES):
        return LR / 2 * (1 + torch.cos(math.pi * at / period))

    epoch = step // BATCHES
    suspects = {
        "schedule.step() is called once per epoch, but its period is counted in batches: the rate hardly falls": cosine(
            epoch
        ),
        "the rate falls in stairs, once per epoch: count the period in batches, and step after each": cosine(
            epoch, EPOCHS
        ),
        "the rate falls and rises: schedule.step() is called per batch, but its period is counted in epochs": cosine(
            step, EPOCHS
        ),
        "the rate falls and rises: the period is one epoch, not the whole run": cosine(step, BATCHES),
        "the first rate is skipped: schedule.step() comes after optimizer.step()": cosine(step + 1),
        "the rate stays the same: schedule.step() is missing": LR + 0 * step,
    }
    rates = torch.tensor([float(record["lr"]) for record in records], dtype=torch.float64)
    compare(rates, cosine(step), suspects, tolerance=1e-6, of="the rates of the steps")

"""Hidden tests of chapter 5: an example. What is public is not secret; copy this file and change it."""

import torch
from torch import nn


def trajectory(step, generator, steps=6, shape=(3, 4), dtype=torch.float64, scale=1.0, **options):
    """The parameters after each step, under gradients at random."""
    theta, state, seen = torch.randn(shape, generator=generator).to(dtype), {}, []
    for _ in range(steps):
        theta = step(theta, scale * torch.randn(shape, generator=generator).to(dtype), state, **options)
        seen.append(theta)
    return seen


def steps_plain(step, generator):
    """Six steps with the defaults."""
    return trajectory(step, generator, lr=0.1)


def steps_tiny_gradients(step, generator):
    """Gradients of the size of eps, other betas."""
    return trajectory(step, generator, lr=0.3, scale=1e-8, beta1=0.5, beta2=0.9, eps=1e-8)


def steps_two_at_once(step, generator):
    """Two parameters in turns, each with a state of its own."""
    first, second, a, b = (torch.randn(5, generator=generator).double() for _ in range(4))
    states = {}, {}
    for t in range(4):
        first = step(first, a + t, states[0], lr=0.01)
        second = step(second, b - t, states[1], lr=0.02)
    return first, second


def steps_many(step, generator):
    """Two hundred steps in float32: the correction has nearly gone."""
    return trajectory(step, generator, steps=200, shape=(2,), dtype=torch.float32, lr=0.01)[-1]


def decayed(step, generator):
    """Six steps with weight decay."""
    return trajectory(step, generator, lr=0.1, weight_decay=0.2)


def decayed_without_gradient(step, generator):
    """What is never pushed only decays."""
    return trajectory(step, generator, lr=0.1, weight_decay=0.5, scale=0.0)


def decayed_strongly(step, generator):
    """Strong decay, other betas and eps."""
    return trajectory(step, generator, lr=0.5, weight_decay=1.5, beta1=0.5, beta2=0.8, eps=0.1)


def draw(generator, low, high):
    return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()


def momentum(best_momentum, generator):
    """At the usual rate, 1 / L."""
    mu, L = draw(generator, 0.01, 0.1), draw(generator, 1, 10)
    return best_momentum(1 / L, mu, L)


def momentum_fast(best_momentum, generator):
    """At a rate beyond 2 / L, where the steepest direction decides."""
    mu, L = draw(generator, 0.5, 0.9), draw(generator, 1, 2)
    return best_momentum(draw(generator, 3.2, 3.9) / L, mu, L)


def momentum_round(best_momentum, generator):
    """All curvatures the same."""
    L = draw(generator, 1, 5)
    return best_momentum(draw(generator, 0.1, 0.9) / L, L, L)


def rates(learning_rate_at, generator):
    """Thirty steps, five of them to warm up."""
    peak = draw(generator, 0.1, 1)
    return [learning_rate_at(step, 30, 5, peak) for step in range(30)]


def rates_without_warmup(learning_rate_at, generator):
    """No step to warm up, and a rate that isn't 0 at the end."""
    peak = draw(generator, 0.1, 1)
    return [learning_rate_at(step, 12, 0, peak, final=peak / 10) for step in range(12)]


def rates_short(learning_rate_at, generator):
    """As much warm-up as there may be."""
    peak = draw(generator, 0.1, 1)
    return [learning_rate_at(step, 6, 4, peak, final=0.01) for step in range(6)]


class Pretrained(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(6, 16), nn.Linear(16, 10)

    def forward(self, x):
        return self.head(self.body(x).relu())


def task(generator, classes):
    """Batches of several sizes, whose classes lie far apart."""
    centres = 3 * torch.randn(classes, 6, generator=generator)
    labels = [torch.randint(classes, (n,), generator=generator) for n in (20, 9, 26, 14, 20, 5)]
    return [(centres[y] + torch.randn(len(y), 6, generator=generator) / 3, y) for y in labels]


def tuned(fine_tune, generator, classes):
    model, batches = Pretrained(), task(generator, classes)
    before = model.body.weight.detach().clone()
    fine_tune(model, batches, epochs=30, lr=0.03, classes=classes)
    accuracy = torch.cat([model(x).argmax(1) == y for x, y in batches]).double().mean()
    moved = bool((model.body.weight != before).all())
    return model.head.out_features, bool(accuracy > 0.95), moved, list(model.parameters())


def fine_tuned(fine_tune, generator):
    """Three classes: what is learned, and the weights afterwards. The new head is all that is drawn."""
    return tuned(fine_tune, generator, 3)


def fine_tuned_ten(fine_tune, generator):
    """As many classes as the old head had."""
    return tuned(fine_tune, generator, 10)


TESTS = {
    "adam": [steps_plain, steps_tiny_gradients, steps_two_at_once, steps_many],
    "adamw": [decayed, decayed_without_gradient, decayed_strongly],
    "heavy-ball": [momentum, momentum_fast, momentum_round],
    "schedule": [rates, rates_without_warmup, rates_short],
    "mend-training": [fine_tuned, fine_tuned_ten],
}

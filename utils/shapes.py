"""Small pictures of shapes, drawn on demand: the data set that needs no download.

Knows: how to draw 32x32 colour pictures of one object each, with its label, its mask and its box.
Doesn't know: files, splits into training and test, normalisation, devices (utils.data), or any model.

A shape is a function of x and y that is negative inside, positive outside, and close to the distance from the outline
(a signed distance). The union of two shapes is the minimum, their intersection the maximum, the complement the
negative: no loop over pixels. Position, size, rotation, proportions, colours, texture, what stands behind and in
front, light, focus and noise vary. Colours are drawn without a look at the label.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

SIZE = 32  # pixels, height and width
CHUNK = 125  # pictures drawn together, from one random stream: another number gives another data set


class Shapes(NamedTuple):
    """n pictures, on the CPU."""

    images: torch.Tensor  # uint8 [n, 32, 32, 3], RGB
    labels: torch.Tensor  # int64 [n], index into CLASSES[family]
    masks: torch.Tensor  # bool [n, 32, 32], True where the object is visible: not where something stands in front
    boxes: torch.Tensor  # int64 [n, 4], x0, y0, x1, y1 around the mask; x1 and y1 exclusive: mask[y0:y1, x0:x1]


# Signed distances. x points right, y up; an object lies within about one unit of the origin.


def _union(*distances):
    return torch.stack(distances).amin(0)


def _common(*distances):
    return torch.stack(distances).amax(0)


def _disc(x, y, radius):
    return torch.hypot(x, y) - radius


def _box(x, y, half_width, half_height):
    return torch.maximum(x.abs() - half_width, y.abs() - half_height)


def _polygon(x, y, *corners):
    """A convex polygon, corners counterclockwise: inside is what lies left of every edge."""
    edges = []
    for i, (x1, y1) in enumerate(corners):
        x0, y0 = corners[i - 1]
        edges.append(((y1 - y0) * (x - x0) - (x1 - x0) * (y - y0)) / math.hypot(x1 - x0, y1 - y0))
    return _common(*edges)


def _roof(x, y, half_width, bottom, top):
    return _polygon(x, y, (half_width, bottom), (0, top), (-half_width, bottom))


def _star(x, y, inner):
    """Five points: the plane is folded onto one tenth of the star, whose outline there is one straight edge."""
    sector = 2 * math.pi / 5
    angle = ((torch.atan2(x, y) + sector / 2) % sector - sector / 2).abs()
    u, v = torch.hypot(x, y) * torch.cos(angle), torch.hypot(x, y) * torch.sin(angle)
    du, dv = inner * math.cos(sector / 2) - 1, inner * math.sin(sector / 2)  # from the point (1, 0) to the notch
    return ((u - 1) * dv - v * du) / math.hypot(du, dv)


FAMILIES = {
    "geometric": {
        "disc": lambda x, y: _disc(x, y, 0.88),
        "ring": lambda x, y: _disc(x, y, 0.7).abs() - 0.21,
        "square": lambda x, y: _box(x, y, 0.78, 0.78),
        "hexagon": lambda x, y: _polygon(x.abs(), y, (0, -0.98), (0.85, -0.49), (0.85, 0.49), (0, 0.98), (-1, 0)),
        "triangle": lambda x, y: _roof(x, y, 1, -0.775, 0.95),
        "star": lambda x, y: _star(x, y, 0.45),
        "cross": lambda x, y: _union(_box(x, y, 0.95, 0.32), _box(x, y, 0.32, 0.95)),
        "crescent": lambda x, y: _common(_disc(x, y, 0.95), -_disc(x - 0.45, y, 0.75)),
        "heart": lambda x, y: _union(
            _disc(x.abs() - 0.42, y - 0.3, 0.52), _polygon(x.abs(), y, (-1, -1), (0, -1), (0.84, -0.02), (0, 0.45))
        ),
        "arrow": lambda x, y: _union(_box(x + 0.35, y, 0.6, 0.24), _polygon(x, y, (0, -0.8), (0.95, 0), (0, 0.8))),
    },
    "things": {
        "house": lambda x, y: _union(
            _box(x, y + 0.4, 0.68, 0.5), _box(x - 0.45, y - 0.55, 0.13, 0.35), _roof(x, y, 0.95, 0.05, 0.95)
        ),
        "tree": lambda x, y: _union(
            _box(x, y + 0.7, 0.14, 0.3), _roof(x, y, 0.75, -0.5, 0.4), _roof(x, y, 0.55, 0.05, 0.95)
        ),
        "fish": lambda x, y: _union(
            _disc(x - 0.2, y * 1.6, 0.75), _polygon(x, y, (-0.95, -0.55), (-0.25, 0), (-0.95, 0.55))
        ),
        "cup": lambda x, y: _union(
            _polygon(x, y, (0.3, -0.75), (0.45, 0.75), (-0.75, 0.75), (-0.6, -0.75)),
            _common(_disc(x - 0.45, y - 0.1, 0.4).abs() - 0.1, 0.35 - x),
        ),
        "key": lambda x, y: _union(
            _disc(x + 0.55, y, 0.32).abs() - 0.11, _box(x - 0.3, y, 0.65, 0.12), _box(x - 0.6, y + 0.2, 0.22, 0.25)
        ),
        "boat": lambda x, y: _union(
            _polygon(x, y, (0.55, -0.85), (0.95, -0.4), (-0.95, -0.4), (-0.55, -0.85)),
            _polygon(x, y, (0.75, -0.25), (0.05, 0.95), (0.05, -0.25)),
            _polygon(x, y, (-0.08, -0.25), (-0.08, 0.6), (-0.6, -0.25)),
        ),
        "mushroom": lambda x, y: _union(_common(_disc(x, y * 0.95, 0.92), 0.05 - y), _box(x, y + 0.4, 0.24, 0.5)),
        "umbrella": lambda x, y: _union(
            _common(_disc(x, y, 0.95), -y, -_disc(x.abs() - 0.63, y, 0.33), -_disc(x, y, 0.3)),
            _box(x, y + 0.2, 0.08, 0.7),
            _common(_disc(x - 0.18, y + 0.78, 0.18).abs() - 0.08, y + 0.78),
        ),
    },
}
CLASSES = {family: list(shapes) for family, shapes in FAMILIES.items()}


# Drawing. One random number per picture has the shape [CHUNK, 1, 1], to go with pixels [CHUNK, 32, 32].


def _uniform(generator, low, high, *shape):
    return low + (high - low) * torch.rand(CHUNK, *(shape or (1, 1)), generator=generator)


def _place(centre_x, centre_y, radius, tilt, stretch):
    """The pixels' centres as an object sees them, x and y. centre and radius: pixels; tilt: radians."""
    pixel = torch.arange(SIZE) + 0.5
    x, y = (pixel[None, None, :] - centre_x) / radius, (centre_y - pixel[None, :, None]) / radius
    return (x * tilt.cos() + y * tilt.sin()) * stretch, (y * tilt.cos() - x * tilt.sin()) / stretch


def _surface(g, colour, strength):
    """Colour with waves of another colour in it, bent by smooth noise: float [CHUNK, 3, 32, 32]."""
    x, _ = _place(0, 0, _uniform(g, 0.8, 4), _uniform(g, 0, math.pi), 1)
    bend = F.interpolate(torch.randn(CHUNK, 1, 5, 5, generator=g), (SIZE, SIZE), mode="bilinear", align_corners=True)
    waves = 0.5 + 0.5 * torch.sin(x + _uniform(g, 0, 2 * math.pi) + 2 * bend[:, 0])
    return colour.lerp(_uniform(g, 0, 1, 3, 1, 1), (_uniform(g, 0, strength) * waves)[:, None])


def _piece(g, radii, distances):
    """An ellipse or a bar somewhere in a ring around the middle; both ranges in pixels. Coverage [CHUNK, 32, 32]."""
    angle, distance, radius = _uniform(g, 0, 2 * math.pi), _uniform(g, *distances), _uniform(g, *radii)
    centre = 16 + distance * angle.cos(), 16 + distance * angle.sin()
    x, y = _place(*centre, radius, _uniform(g, 0, math.pi), _uniform(g, 0.5, 1))
    outline = torch.where(_uniform(g, 0, 1) < 0.5, _disc(x, y, 1), _box(x, y, 0.9, 0.9))
    return (0.5 - outline * radius).clamp(0, 1)


def _draw(shapes, stream):
    """CHUNK pictures: images, labels, masks."""
    g = torch.Generator().manual_seed(stream)
    labels = torch.randint(len(shapes), (CHUNK,), generator=g)
    radius = _uniform(g, 9.5, 13.5)
    centre = 16 + (16 - radius) * _uniform(g, -1, 1), 16 + (16 - radius) * _uniform(g, -1, 1)
    x, y = _place(*centre, radius, _uniform(g, -0.3, 0.3), _uniform(g, 0.87, 1.15))
    distance = torch.empty_like(x)
    for label, shape in enumerate(shapes.values()):
        rows = labels == label
        distance[rows] = shape(x[rows], y[rows])
    whole = (0.5 - distance * radius).clamp(0, 1)  # the part of a pixel that the object covers

    back, front = _uniform(g, 0, 1, 3, 1, 1), _uniform(g, 0, 1, 3, 1, 1)
    similar = (back - front).norm(dim=1, keepdim=True) < 0.4
    front = torch.where(similar, (front + 0.5) % 1, front)  # moved by half the range: no object is invisible
    swap = (front.mean(1, True) < back.mean(1, True)) & (_uniform(g, 0, 1, 1, 1, 1) < 0.75)
    back, front = torch.where(swap, front, back), torch.where(swap, back, front)  # what is lit is lighter, mostly

    image = _surface(g, back, 0.5)
    for _ in range(3):
        image = image.lerp(_uniform(g, 0, 1, 3, 1, 1), _piece(g, (2, 4.5), (6, 18))[:, None])
    image = image.lerp(_surface(g, front, 0.35), whole[:, None])
    cover = _piece(g, (3, 6), (8, 16)) * (_uniform(g, 0, 1) < 0.4)
    cover *= (whole * cover).sum((1, 2), True) < 0.3 * whole.sum((1, 2), True)  # 70 % of the object stay visible
    image = image.lerp(_surface(g, _uniform(g, 0, 1, 3, 1, 1), 0.6), cover[:, None])

    across, _ = _place(16, 16, 16, _uniform(g, 0, 2 * math.pi), 1)
    image = image * (1 + _uniform(g, 0, 0.4) * across)[:, None]  # light from one side
    blurred = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    image = image.lerp(blurred, _uniform(g, 0, 1, 1, 1, 1))
    image = image + _uniform(g, 0.01, 0.05, 1, 1, 1) * torch.randn(image.shape, generator=g)
    images = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return images.contiguous(), labels, whole * (1 - cover) > 0.5


def boxes_of(masks):
    """The smallest boxes around masks bool [n, H, W], none empty: int64 [n, 4], x0, y0, x1, y1; x1, y1 exclusive."""
    (x0, x1), (y0, y1) = [
        (line.int().argmax(1), line.shape[1] - line.flip(1).int().argmax(1)) for line in (masks.any(1), masks.any(2))
    ]
    return torch.stack((x0, y0, x1, y1), 1)


def generate(n, seed=0, family="geometric"):
    """n pictures of the classes of a family, the same for the same seed: Shapes(images, labels, masks, boxes).

    n, seed: int >= 0; family: a key of CLASSES. Labels are drawn independently, every class equally likely.
    The first k pictures of generate(n, seed) are generate(k, seed). Training and test pictures may come from two seeds
    (their random streams differ) or from two parts of one. On another processor or version of torch a few pixels may
    differ by a grey level. Raises TypeError (n or seed no int), ValueError (negative, or an unknown family).
    """
    for name, value in (("n", n), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{name} is {value!r}, a {type(value).__name__}: pass a whole number as an int")
        if value < 0:
            raise ValueError(f"{name} is {value}: pass 0 or more")
    if family not in CLASSES:
        raise ValueError(f"unknown family {family!r}: pass one of {', '.join(map(repr, CLASSES))}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # hundreds of small operations: waiting for other threads can cost more than they give
    try:
        seeds = [np.random.SeedSequence([seed, list(CLASSES).index(family), i]) for i in range(max(1, -(-n // CHUNK)))]
        chunks = [_draw(FAMILIES[family], int(s.generate_state(1, np.uint64)[0])) for s in seeds]
    finally:
        torch.set_num_threads(threads)
    images, labels, masks = (torch.cat(parts)[:n] for parts in zip(*chunks, strict=True))
    return Shapes(images, labels, masks, boxes_of(masks))

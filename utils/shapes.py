"""Small pictures of shapes, drawn on demand: the data set that needs no download.

Knows: how to draw 32x32 colour pictures of one object each, with its label, its mask and its box.
Does not know: files, splits into training and test, normalisation, devices (see utils.data), or any model.

Every shape is a function d(x, y) that is negative inside, positive outside and close to the distance from the outline
(a signed distance). Union is the minimum of two such functions, intersection the maximum, complement the negative:
whole pictures are drawn without a loop over pixels. Of every picture vary: position, size, rotation, proportions,
colours, texture, what stands behind and in front, light, focus, noise. Colours are drawn without a look at the label.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

SIZE = 32  # pixels, height and width
CHUNK = 250  # images drawn at once, from one random stream; changing it changes the data set


class Shapes(NamedTuple):
    """n pictures. All tensors are on the CPU."""

    images: torch.Tensor  # uint8 [n, 32, 32, 3], RGB
    labels: torch.Tensor  # int64 [n], index into CLASSES[family]
    masks: torch.Tensor  # bool [n, 32, 32], True where the object is visible: what an occluder covers is False
    boxes: torch.Tensor  # int64 [n, 4], x0, y0, x1, y1 around the mask; x1 and y1 exclusive: mask[y0:y1, x0:x1]


# --- signed distances: x to the right, y up, the object within about one unit of the origin ---


def _union(*distances):
    return torch.stack(distances).amin(0)


def _common(*distances):
    return torch.stack(distances).amax(0)


def _disc(x, y, radius=1.0):
    return torch.hypot(x, y) - radius


def _ring(x, y, radius, width):
    return (torch.hypot(x, y) - radius).abs() - width / 2


def _box(x, y, half_width, half_height):
    return torch.maximum(x.abs() - half_width, y.abs() - half_height)


def _polygon(x, y, *corners):
    """A convex polygon, corners counterclockwise: inside means to the left of every edge."""
    edges = []
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1]):
        length = math.hypot(x1 - x0, y1 - y0)
        edges.append(((y1 - y0) * (x - x0) - (x1 - x0) * (y - y0)) / length)
    return _common(*edges)


def _regular(x, y, corners, radius):
    angles = [math.pi / 2 + 2 * math.pi * i / corners for i in range(corners)]
    return _polygon(x, y, *[(radius * math.cos(a), radius * math.sin(a)) for a in angles])


def _star(x, y, inner=0.45):
    """Five points: the plane is folded onto one tenth of the star, which has one straight edge."""
    angle = torch.atan2(x, y).abs()  # 0 upwards
    angle = ((angle + math.pi / 5) % (2 * math.pi / 5) - math.pi / 5).abs()
    radius = torch.hypot(x, y)
    u, v = radius * torch.cos(angle), radius * torch.sin(angle)
    du, dv = inner * math.cos(math.pi / 5) - 1, inner * math.sin(math.pi / 5)  # from the point (1, 0) to the notch
    return ((u - 1) * dv - v * du) / math.hypot(du, dv)


def _heart(x, y):
    lobes = _union(_disc(x - 0.42, y - 0.3, 0.52), _disc(x + 0.42, y - 0.3, 0.52))
    return _union(lobes, _polygon(x, y, (0, -1), (0.84, -0.02), (0.42, 0.45), (-0.42, 0.45), (-0.84, -0.02)))


GEOMETRIC = {
    "disc": lambda x, y: _disc(x, y, 0.88),
    "ring": lambda x, y: _ring(x, y, 0.7, 0.42),
    "square": lambda x, y: _box(x, y, 0.78, 0.78),
    "hexagon": lambda x, y: _regular(x, y, 6, 0.98),
    "triangle": lambda x, y: _regular(x, y + 0.2, 3, 1.15),
    "star": _star,
    "cross": lambda x, y: _union(_box(x, y, 0.95, 0.32), _box(x, y, 0.32, 0.95)),
    "crescent": lambda x, y: _common(_disc(x, y, 0.95), -_disc(x - 0.45, y, 0.75)),
    "heart": _heart,
    "arrow": lambda x, y: _union(_box(x + 0.35, y, 0.6, 0.24), _polygon(x, y, (0, -0.8), (0.95, 0), (0, 0.8))),
}
THINGS = {
    "house": lambda x, y: _union(_box(x, y + 0.4, 0.68, 0.5), _polygon(x, y, (0.95, 0.05), (0, 0.95), (-0.95, 0.05))),
    "tree": lambda x, y: _union(
        _box(x, y + 0.7, 0.14, 0.3),
        _polygon(x, y, (0.75, -0.5), (0, 0.4), (-0.75, -0.5)),
        _polygon(x, y, (0.55, 0.05), (0, 0.95), (-0.55, 0.05)),
    ),
    "fish": lambda x, y: _union(
        _disc(x - 0.2, y * 1.6, 0.75), _polygon(x, y, (-0.95, -0.55), (-0.25, 0), (-0.95, 0.55))
    ),
    "cup": lambda x, y: _union(
        _polygon(x, y, (0.3, -0.75), (0.45, 0.75), (-0.75, 0.75), (-0.6, -0.75)),
        _common(_ring(x - 0.45, y - 0.1, 0.4, 0.2), 0.35 - x),
    ),
    "key": lambda x, y: _union(
        _ring(x + 0.55, y, 0.32, 0.22),
        _box(x - 0.3, y, 0.65, 0.12),
        _box(x - 0.8, y + 0.2, 0.12, 0.25),
        _box(x - 0.4, y + 0.2, 0.1, 0.2),
    ),
    "boat": lambda x, y: _union(
        _polygon(x, y, (0.55, -0.85), (0.95, -0.4), (-0.95, -0.4), (-0.55, -0.85)),
        _polygon(x, y, (0.75, -0.25), (0.05, 0.95), (0.05, -0.25)),
        _polygon(x, y, (-0.08, -0.25), (-0.08, 0.6), (-0.6, -0.25)),
    ),
    "mushroom": lambda x, y: _union(_common(_disc(x, y * 0.95, 0.92), 0.05 - y), _box(x, y + 0.4, 0.24, 0.5)),
    "umbrella": lambda x, y: _union(
        _common(_disc(x, y + 0.05, 0.95), -_union(*[_disc(x - c, y, 0.34) for c in (-0.63, 0, 0.63)]), -y),
        _box(x, y + 0.3, 0.07, 0.6),
        _common(_ring(x - 0.16, y + 0.78, 0.17, 0.14), y + 0.78),
    ),
}
FAMILIES = {"geometric": GEOMETRIC, "things": THINGS}
CLASSES = {family: list(shapes) for family, shapes in FAMILIES.items()}


# --- drawing ---


class _Draw:
    """Random numbers for n pictures, one per picture, shaped [n, 1, 1] to go with pixels [n, 32, 32]."""

    def __init__(self, n, stream):
        self.n, self.generator = n, torch.Generator().manual_seed(stream)

    def uniform(self, low, high, shape=(1, 1)):
        return low + (high - low) * torch.rand(self.n, *shape, generator=self.generator)

    def colour(self):
        return self.uniform(0, 1, (3, 1, 1))

    def labels(self, classes):
        return torch.randint(classes, (self.n,), generator=self.generator)

    def clouds(self, cells):
        """Smooth random fields, standard deviation about 0.6: float [n, 32, 32]."""
        coarse = torch.randn(self.n, 1, cells, cells, generator=self.generator)
        return F.interpolate(coarse, (SIZE, SIZE), mode="bilinear", align_corners=True)[:, 0]

    def noise(self):
        return torch.randn(self.n, 3, SIZE, SIZE, generator=self.generator)


def _place(draw, centre_x, centre_y, radius, tilt, stretch):
    """Pixel centres in the coordinates of an object: x, y float [n, 32, 32]."""
    pixel = torch.arange(SIZE) + 0.5
    x, y = (pixel[None, None, :] - centre_x) / radius, (centre_y - pixel[None, :, None]) / radius
    cos, sin = torch.cos(tilt), torch.sin(tilt)
    return (x * cos + y * sin) * stretch, (y * cos - x * sin) / stretch


def _paint(draw, colour, strength):
    """A surface: its colour, with waves of another colour, bent by clouds. float [n, 3, 32, 32]"""
    x, y = _place(draw, 0, 0, draw.uniform(0.8, 4), draw.uniform(0, math.pi), 1)
    waves = torch.sin(x + 0 * y + draw.uniform(0, 2 * math.pi) + 2 * draw.clouds(5))
    return colour + (draw.colour() - colour) * (draw.uniform(0, strength) * (0.5 + 0.5 * waves))[:, None]


def _piece(draw, low, high, near, far):
    """Clutter, an ellipse or a bar: coverage float [n, 32, 32]. Its centre is near..far pixels from the middle."""
    angle, distance = draw.uniform(0, 2 * math.pi), draw.uniform(near, far)
    radius = draw.uniform(low, high)
    x, y = _place(draw, 16 + distance * torch.cos(angle), 16 + distance * torch.sin(angle), radius,
                  draw.uniform(0, math.pi), draw.uniform(0.5, 1))
    outline = torch.where(draw.uniform(0, 1) < 0.5, _disc(x, y), _box(x, y, 0.9, 0.9))
    return (0.5 - outline * radius).clamp(0, 1)


def _chunk(shapes, stream):
    """CHUNK pictures: images, labels, masks."""
    draw = _Draw(CHUNK, stream)
    labels = draw.labels(len(shapes))
    radius = draw.uniform(8, 13)
    margin = 16 - radius
    x, y = _place(draw, 16 + margin * draw.uniform(-1, 1), 16 + margin * draw.uniform(-1, 1), radius,
                  draw.uniform(-0.4, 0.4), draw.uniform(0.87, 1.15))
    distance = torch.empty_like(x)
    for label, shape in enumerate(shapes.values()):
        rows = labels == label
        distance[rows] = shape(x[rows], y[rows])
    whole = (0.5 - distance * radius).clamp(0, 1)  # part of the pixel that the object covers

    back, front = draw.colour(), draw.colour()
    similar = (back - front).norm(dim=1, keepdim=True) < 0.4
    front = torch.where(similar, (front + 0.5) % 1, front)  # half the range away in each channel: always to be seen

    image = _paint(draw, back, 0.7)
    for _ in range(3):
        image = image.lerp(draw.colour().expand_as(image), _piece(draw, 2, 6, 6, 18)[:, None])
    image = image.lerp(_paint(draw, front, 0.6), whole[:, None])
    cover = _piece(draw, 3, 6, 8, 16) * (draw.uniform(0, 1) < 0.5)
    visible = whole * (1 - cover)
    cover = cover * (visible.sum((1, 2), True) > 0.7 * whole.sum((1, 2), True))  # no cover where too much would be lost
    image = image.lerp(_paint(draw, draw.colour(), 0.6), cover[:, None])

    x, y = _place(draw, 16, 16, 16, draw.uniform(0, 2 * math.pi), 1)
    image = image * (1 + draw.uniform(0, 0.4) * x)[:, None]  # light from one side
    blurred = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    image = image.lerp(blurred, draw.uniform(0, 1)[:, None]) + draw.uniform(0.01, 0.08)[:, None] * draw.noise()
    images = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return images, labels, whole * (1 - cover) > 0.5


def boxes_of(masks):
    """The smallest boxes around masks bool [n, H, W], none empty: int64 [n, 4], x0, y0, x1, y1; x1, y1 exclusive."""
    sides = []
    for line in (masks.any(1), masks.any(2)):  # columns, then rows
        first = line.int().argmax(1)
        sides.append((first, line.shape[1] - line.flip(1).int().argmax(1)))
    (x0, x1), (y0, y1) = sides
    return torch.stack((x0, y0, x1, y1), 1)


def generate(n, seed=0, family="geometric"):
    """n pictures of one family of classes, the same for the same seed: a Shapes(images, labels, masks, boxes).

    n: int >= 0; seed: int >= 0; family: a key of CLASSES. Labels are drawn independently, each class equally likely.
    The first k pictures of generate(n, seed) are generate(k, seed). Two seeds share no random stream, so training and
    test pictures may come from two seeds or from two parts of one. On another processor or version of torch a few
    pixels may differ by a grey level. Raises ValueError (unknown family, negative number), TypeError (not an int).
    """
    for name, value in (("n", n), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{name} must be an int, but is {value!r} ({type(value).__name__}): pass a whole number")
        if value < 0:
            raise ValueError(f"{name} must be 0 or more, but is {value}")
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}: pass one of {', '.join(map(repr, FAMILIES))}")
    chunks = []
    for i in range(max(1, math.ceil(n / CHUNK))):
        stream = np.random.SeedSequence([seed, list(FAMILIES).index(family), i]).generate_state(1, np.uint64)[0]
        chunks.append(_chunk(FAMILIES[family], int(stream)))
    images, labels, masks = (torch.cat(parts)[:n] for parts in zip(*chunks))
    return Shapes(images, labels, masks, boxes_of(masks))

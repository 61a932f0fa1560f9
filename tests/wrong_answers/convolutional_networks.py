"""Wrong answers to the exercises of chapter 3."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from wrong_answers import WrongAnswers

wrong = WrongAnswers()


# -------------------------------------------------------------------------------------------------- transposed-conv


def conv_transpose2d(x, weight, bias, stride, padding, mistake=""):
    """Windows put into an empty picture, with one mistake."""
    n, channels, height, width = x.shape
    kh, kw = weight.shape[2:]
    step = 1 if mistake == "no stride" else stride
    across = 1 if mistake == "stride of rows" else step
    if mistake == "repeats":
        x = x.repeat_interleave(stride, 2).repeat_interleave(stride, 3)
        (height, width), step, across = x.shape[2:], 1, 1
    rows, columns = step * (height - 1) + 1, across * (width - 1) + 1
    more = (step - 1) * (mistake == "too long")
    y = x.new_zeros(n, weight.shape[1], rows + kh - 1 + more, columns + kw - 1 + more)
    terms = torch.zeros_like(y)
    for i in range(kh):
        for j in range(kw):
            w = weight[:, :, kh - 1 - i, kw - 1 - j] if mistake == "flipped" else weight[:, :, i, j]
            if mistake == "first channel":
                x, w = x[:, :1], w[:1]
            part = torch.einsum("co,nchw->nohw", w, x) / (channels if mistake == "mean" else 1)
            if mistake == "bias each":
                part = part + bias[:, None, None]
            place = (..., slice(i, i + rows, step), slice(j, j + columns, across))
            y[place] = part + (0 if mistake == "overwrites" else y[place])
            terms[place] += 1
    if mistake == "mean of overlaps":
        y = y / terms.clamp(min=1)
    first, last = {"end": (0, 2 * padding), "begin": (2 * padding, 0), "one side": (padding, 0), "none": (0, 0)}.get(
        mistake, (padding, padding)
    )
    y = F.pad(y, 4 * (padding,)) if mistake == "adds" else y[..., first : y.shape[2] - last, first : y.shape[3] - last]
    if mistake not in ("no bias", "bias each"):
        y = y + bias[:, None, None] * (kh * kw if mistake == "bias per entry" else 1)
    return y.float() if mistake == "float" else y


for mistake, message in {
    "flipped": "stride 1, padding 0: right shape, wrong values: the window is flipped",
    "no bias": "the bias is missing",
    "bias each": "the bias is added with every term",
    "bias per entry": "the bias is added once per entry",
    "overwrites": "windows overwrite each other",
    "mean of overlaps": "where windows overlap, their mean is taken",
    "no stride": "stride 2, padding 0: shape [2, 3, 8, 6] instead of [2, 3, 13, 10]: stride isn't used",
    "stride of rows": "stride is used for the rows alone",
    "repeats": "x is stretched by repeating its pixels",
    "too long": "stride 2, padding 0: shape [2, 3, 14, 11] instead of [2, 3, 13, 10]: the last window begins",
    "none": "stride 2, padding 1: shape [2, 3, 13, 10] instead of [2, 3, 11, 8]: padding isn't used",
    "adds": "padding adds zeros around the result",
    "end": "all is cut off below and on the right",
    "begin": "all is cut off above and on the left",
    "one side": "half as much is cut off",
    "first channel": "the sum over input channels is missing",
    "mean": "the input channels are averaged",
    "float": "float32 instead of float64",
}.items():
    wrong("transposed-conv", message)(partial(conv_transpose2d, mistake=mistake))

wrong("transposed-conv", "uses torch's `conv_transpose2d`")(F.conv_transpose2d)


@wrong("transposed-conv", "uses torch's `fold`")
def by_columns(x, weight, bias, stride, padding):
    columns = weight.flatten(1).T @ x.flatten(2)
    size = [stride * (n - 1) + k - 2 * padding for n, k in zip(x.shape[2:], weight.shape[2:], strict=True)]
    return F.fold(columns, size, weight.shape[2:], padding=padding, stride=stride)


@wrong("transposed-conv", "It was called with x = float64 [2, 4, 6, 5]")
def channels_swapped(x, weight, bias, stride, padding):
    return conv_transpose2d(x, weight.transpose(0, 1), bias, stride, padding)


@wrong("transposed-conv", "changes its input `bias` in place")
def adds_to_the_bias(x, weight, bias, stride, padding):
    bias += 1
    return conv_transpose2d(x, weight, bias, stride, padding)


# -------------------------------------------------------------------------------------------------- receptive-field


def receptive_field(layers, mistake):
    """Size, jump and start, with one mistake."""
    if mistake == "backwards":
        layers = layers[::-1]
    size, jump, start = 0 if mistake == "from 0" else 1, 1, 0
    for kernel, stride, padding, dilation in layers:
        after = jump * stride
        if mistake == "dilation moves":
            after *= dilation
        at = {"late": after, "no jump": 1}.get(mistake, jump)
        span = {"k": kernel * dilation, "kd": kernel * dilation - 1, "no dilation": kernel - 1}.get(
            mistake, (kernel - 1) * dilation
        )
        size += span * at - (2 * padding if mistake == "minus padding" else 0)
        moved = {"start late": after, "start no jump": 1, "no padding": 0, "to the right": -jump}.get(mistake, jump)
        start -= padding * moved
        jump = after
    if mistake == "middle":
        start += (size - 1) / 2
    if mistake == "last stride" and layers:
        jump = layers[-1][1]
    if mistake == "sum of strides":
        jump = sum(stride for _, stride, _, _ in layers)
    if mistake == "last jump missing" and layers:
        jump //= layers[-1][1]
    if mistake == "first padding" and layers:
        start = -layers[0][2]
    return size if mistake == "size alone" else (size, jump, start)


for mistake, message in {
    "late": "size for layers = [(5, 2, 1, 1), (3, 3, 2, 2), (4, 1, 1, 1)]: 51 instead of 31: the layer's own stride",
    "no jump": "strides are left out",
    "backwards": "the layers are taken from the output to the input",
    "k": "a layer adds k - 1 steps, not k",
    "kd": "a window of k entries d apart spans (k - 1)d + 1 pixels",
    "no dilation": "dilation isn't used",
    "from 0": "without a layer, size is 1",
    "minus padding": "padding doesn't change the size",
    "sum of strides": "strides are multiplied, not added",
    "last jump missing": "the last layer's stride is missing",
    "dilation moves": "dilation spreads a window, but doesn't move it",
    "last stride": "1 instead of 6: that is the last layer's stride",
    "start late": "start for layers = [(5, 2, 1, 1), (3, 3, 2, 2), (4, 1, 1, 1)]: -20 instead of -11: the layer's own",
    "start no jump": "-4 instead of -11: strides are left out",
    "no padding": "padding isn't used",
    "to the right": "padding moves the first window to the left",
    "middle": "that is the middle of the field",
    "first padding": "only the first layer's padding counts",
    "size alone": "returns 31, expected three integers",
}.items():
    wrong("receptive-field", message)(partial(receptive_field, mistake=mistake))


# -------------------------------------------------------------------------------------------------------- polyphase


def polyphase(x, stride, mistake):
    """The largest of the grids, with one mistake."""
    grids = torch.stack([x[:, :, i::stride, j::stride] for i in range(stride) for j in range(stride)], 1)
    if mistake == "blocks":
        rows = [part for rows in x.chunk(stride, 2) for part in rows.chunk(stride, 3)]
        grids = torch.stack(rows, 1)
    squares, every = grids.square(), torch.arange(len(x))
    if mistake == "max pooling":
        return F.max_pool2d(x, stride)
    if mistake == "mean pooling":
        return F.avg_pool2d(x, stride)
    if mistake == "per channel":
        best = squares.sum((3, 4)).argmax(1)
        return torch.stack([grids[every, best[:, c], c] for c in range(x.shape[1])], 1)
    best = {
        "first": torch.zeros(len(x)).long(),
        "batch": squares.sum((0, 2, 3, 4)).argmax().expand(len(x)),
        "smallest": squares.sum((2, 3, 4)).argmin(1),
        "sum": grids.sum((2, 3, 4)).argmax(1),
        "absolute": grids.abs().sum((2, 3, 4)).argmax(1),
        "single": grids.amax((2, 3, 4)).argmax(1),
    }.get(mistake, squares.sum((2, 3, 4)).argmax(1))
    if mistake == "all pairs":
        return grids[:, best]
    if mistake == "index":
        return best
    return grids[every, best]


for mistake, message in {
    "first": "x [5, 3, 6, 8], stride 2: right shape, wrong values: always the same grid: that is a plain stride",
    "batch": "one grid is chosen for the whole batch",
    "per channel": "each channel has a grid of its own",
    "smallest": "the smallest grid is chosen",
    "sum": "negative ones count as less",
    "absolute": "absolute values are summed",
    "single": "the grid with the largest single value",
    "max pooling": "that is max pooling",
    "mean pooling": "that is mean pooling",
    "blocks": "the picture is cut into blocks",
    "all pairs": "shape [5, 5, 3, 3, 4] instead of [5, 3, 3, 4]",
    "index": "shape [5] instead of [5, 3, 3, 4]",
}.items():
    wrong("polyphase", message)(partial(polyphase, mistake=mistake))


# --------------------------------------------------------------------------------------------------------- grad-cam


def grad_cam(net, layer, images, labels, mistake):
    """Grad-CAM by a hook, with one mistake."""
    if mistake in ("train mode", "statistics"):
        net.train()
        net(images)
    if mistake == "statistics":
        net.eval()
    outputs = []
    hook = layer.register_forward_hook(lambda *call: outputs.append(call[2]))
    logits = net(images)
    if mistake != "hook stays":
        hook.remove()
    if mistake == "frozen":
        net.requires_grad_(False)
    own = logits.gather(1, labels[:, None])
    score = {
        "prediction": logits.amax(1),
        "all": logits,
        "probability": logits.softmax(1).gather(1, labels[:, None]),
        "log": logits.log_softmax(1).gather(1, labels[:, None]),
        "loss": F.cross_entropy(logits, labels, reduction="sum"),
        "mean": own.mean(),
    }.get(mistake, own)
    if mistake == "backward":
        outputs[0].retain_grad()
        score.sum().backward()
        gradient = outputs[0].grad
    else:
        (gradient,) = torch.autograd.grad(score.sum(), outputs[0])
    activations = outputs[0].detach()
    alpha = {
        "no mean": gradient,
        "over channels": gradient.mean(1, keepdim=True),
        "over images": gradient.mean((0, 2, 3), keepdim=True),
        "sum": gradient.sum((2, 3), keepdim=True),
        "weights' relu": gradient.mean((2, 3), keepdim=True).relu(),
        "no weights": torch.ones(1),
        "gradient alone": gradient / activations,
    }.get(mistake, gradient.mean((2, 3), keepdim=True))
    if mistake == "activations' relu":
        activations = activations.relu()
    parts = alpha * activations
    heat = {
        "no relu": parts.sum(1),
        "abs": parts.sum(1).abs(),
        "relu first": parts.relu().sum(1),
        "mean over channels": parts.mean(1).relu(),
        "keeps channels": parts.relu(),
    }.get(mistake, parts.sum(1).relu())
    if mistake == "scaled":
        heat = heat / heat.amax((1, 2), keepdim=True)
    if mistake == "enlarged":
        heat = F.interpolate(heat[:, None], images.shape[2:])[:, 0]
    return heat.squeeze(0) if mistake == "squeezed" else heat


for mistake, message in {
    "prediction": "that is the map of the class with the highest logit",
    "all": "these are of the sum of all logits",
    "probability": "these are of its probability",
    "log": "these are of its log-probability",
    "loss": "these are of the loss",
    "mean": "7 times too small (images = 7): the gradients are of a mean over the images",
    "no mean": "the gradient isn't averaged over the positions",
    "over channels": "the gradient is averaged over channels",
    "over images": "averaged over the images as well",
    "sum": "20 times too large (positions = 20): the weights are sums",
    "weights' relu": "the ReLU comes after the sum over channels",
    "activations' relu": "the activations' ReLU is taken",
    "no weights": "the channels' weights are missing",
    "gradient alone": "the activations are missing",
    "no relu": "the ReLU is missing",
    "abs": "the absolute value isn't the ReLU",
    "relu first": "each channel's part is cut at 0",
    "mean over channels": "the sum over the channels is a mean",
    "keeps channels": "shape [7, 4, 5, 4] instead of [7, 5, 4]",
    "scaled": "the maps are scaled to 1",
    "enlarged": "shape [7, 9, 8] instead of [7, 5, 4]",
    "squeezed": "for a batch of one image: shape [5, 4] instead of [1, 5, 4]",
    "hook stays": "leaves 1 of its hooks",
    "backward": "leaves gradients in the weights' .grad",
    "frozen": "weights of the net come back frozen",
    "train mode": "the net comes back in train mode",
    "statistics": "the net's weights or running statistics have changed",
}.items():
    wrong("grad-cam", message)(partial(grad_cam, mistake=mistake))


# ---------------------------------------------------------------------------------------------------- mend-conv-net


def net(mistakes=(), scale=255, order=(0, 3, 1, 2), pool=lambda x: x.mean((2, 3)), head=lambda z: z, bias=True):
    """The class Net, with some of the faults left in, or with others."""

    class Net(nn.Module):
        def __init__(self, widths=(64, 64, 128, 256, 256), classes=10):
            super().__init__()
            ends = zip((3, *widths), widths, (1, 1, 2, 2, 2), strict=False)
            self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, s, padding=1) for i, o, s in ends)
            self.head = nn.Linear(widths[-1], classes)
            if "another net" in mistakes:
                self.convs = self.convs[:4]

        def forward(self, images):
            n, height, width, channels = images.shape
            x = (images.view(n, channels, height, width) if "view" in mistakes else images.permute(order)) / scale
            for conv in self.convs:
                x = conv(x)
                if "relu" not in mistakes and not ("last" in mistakes and conv is self.convs[-1]):
                    x = torch.relu(x)
            if "last" not in mistakes:
                x = torch.relu(x)
            if "fold" in mistakes:
                return self.head(x.reshape(-1, self.head.in_features))
            if "pool" in mistakes:
                return self.head(x.reshape(n, -1, self.head.in_features).mean(1))
            return head(self.head(pool(x)))

    return Net


for answer, message in {
    net(("view", "relu", "pool")): "3 faults left: ",
    net(("view", "relu")): "2 faults left: pixels are viewed, not permuted: channels-last bytes",
    net(("relu", "pool")): "2 faults left: the convolutions follow each other",
    net(("view",)): "1 fault left: pixels",
    net(("relu",)): "1 fault left: the convolutions follow each other",
    net(("pool",)): "1 fault left: the map is viewed",
    net(("fold",)): "9 images give 108 rows: 12 positions are folded into the batch",
    net(("last",)): "the last convolution has no ReLU",
    net(("another net",)): "keep the layers of __init__",
    net(scale=1): "the bytes aren't divided",
    net(order=(0, 3, 2, 1)): "height and width have changed places",
    net(pool=lambda x: x.amax((2, 3))): "the largest value of a channel",
    net(pool=lambda x: x.sum((2, 3))): "the values of a channel are summed",
    net(pool=lambda x: x[..., 0, 0]): "one position is taken",
    net(head=lambda z: z.softmax(1)): "these are probabilities",
    net(head=lambda z: z.relu()): "the logits go through a ReLU",
    net()(): "give the function or class itself",
}.items():
    wrong("mend-conv-net", message)(answer)

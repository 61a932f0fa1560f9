"""Wrong answers to the exercises of chapter 6."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from wrong_answers import WrongAnswers

wrong = WrongAnswers()


# ----------------------------------------------------------------------------------------------------- linear-probe


def probe(mistake):
    """The class Probe, with one mistake."""

    class Probe(nn.Module):
        def __init__(self, backbone, features, classes):
            super().__init__()
            self.backbone = nn.Sequential(backbone) if mistake == "wrapped" else backbone
            if mistake != "not frozen":
                backbone.requires_grad_(False)
            if mistake == "last layer free":
                backbone[-1].requires_grad_(True)
            if mistake != "train mode at first":
                backbone.eval()
            self.head = nn.Linear(features, classes, bias=mistake != "no bias")
            if mistake == "ten classes":
                self.head = nn.Linear(features, 10)
            if mistake == "frozen head":
                self.requires_grad_(False)
            if mistake == "resets":
                with torch.no_grad():
                    backbone[0].weight.mul_(0.5)

        def train(self, mode=True):
            if mistake == "all in train mode":
                return super().train(mode)
            if mistake == "no super":
                self.training = mode
                self.backbone.eval()
                return self
            if mistake == "always trains":
                mode = True
            super().train(mode)
            if mistake == "batch norm alone":
                self.backbone[1].eval()
            elif mistake == "one level":
                self.backbone.training = False
            else:
                self.backbone.eval()
            return None if mistake == "no return" else self

        def forward(self, x):
            if mistake == "no grad":
                with torch.no_grad():
                    return self.head(self.backbone(x))
            if mistake == "train in forward":
                self.backbone.train(self.training)
            features = self.backbone(x)
            if mistake == "relu":
                features = features.relu()
            logits = self.head(features)
            return {"no logits": None, "softmax": logits.softmax(1), "relu last": logits.relu()}.get(mistake, logits)

    return Probe


for mistake, message in {
    "not frozen": "parameters that are trained: backbone.0.bias, backbone.0.weight",
    "last layer free": "parameters that are trained: backbone.4.bias, backbone.4.weight, head.bias, head.weight",
    "frozen head": "parameters that are trained: none",
    "no bias": "the head's weight is [4, 5] without a bias",
    "ten classes": "the head's weight is [10, 5], expected [4, 5] and a bias",
    "wrapped": "keep the two parts",
    "resets": "a pass in train mode changes the backbone's 0.weight",
    "train mode at first": "the new probe's backbone is in train mode",
    "all in train mode": "BatchNorm1d in the backbone is in train mode: call eval() on it",
    "train in forward": "a pass in train mode changes the backbone's 1.running_mean: forward puts",
    "batch norm alone": "Dropout in the backbone is in train mode: all of the backbone",
    "one level": "BatchNorm1d in the backbone is in train mode: backbone.training = False doesn't reach",
    "no super": "probe.train() doesn't reach the head",
    "always trains": "probe.eval() leaves the head in train mode",
    "no return": "train(mode) sets self.training and returns self",
    "no grad": "the logits have no gradient",
    "no logits": "gives None: is the `return` missing?",
    "softmax": "these are probabilities",
    "relu last": "the logits go through a ReLU",
    "relu": "the features go through a ReLU",
}.items():
    wrong("linear-probe", message)(probe(mistake))


# -------------------------------------------------------------------------------------------------- layerwise-rates


def layerwise_groups(layers, lr, decay, mistake):
    """The groups, with one mistake."""
    held = [list(layer.parameters()) for layer in layers]
    if mistake != "counts all":
        held = [parameters for parameters in held if parameters]
    if mistake == "one each":
        held = [[parameter] for parameters in held for parameter in parameters]
    if mistake == "no biases":
        held = [parameters[:1] for parameters in held]
    if mistake == "weights of linear":
        held = [list(layer.parameters()) for layer in layers if isinstance(layer, nn.Linear)]
    if mistake == "upside down":
        held = held[::-1]
    if mistake == "twice":
        held[0] = held[0] + held[1]
    if mistake == "one group":
        return {"params": sum(held, []), "lr": lr}
    if mistake == "exhausted":
        held = [iter(()) for _ in held]
    if mistake == "names":
        held = [list(layer.named_parameters()) for layer in layers if list(layer.parameters())]
    groups = []
    for depth, parameters in enumerate(reversed(held)):
        rate = {
            "from 1": lr * decay ** (depth + 1),
            "linear": lr * (1 - decay * depth / (len(held) - 1)),
            "harmonic": lr / (1 + depth),
            "equal": lr,
            "two rates": lr * decay ** min(depth, 1),
            "rises": lr / decay**depth,
            "no lr": decay**depth,
            "power of both": lr * (lr * decay) ** depth,
        }.get(mistake, lr * decay**depth)
        if parameters or mistake == "empty":
            groups.append({"params": parameters, "lr": rate})
    if mistake == "empty":
        groups.append({"params": [], "lr": lr})
    if mistake == "learning_rate":
        groups = [{"params": group["params"], "learning_rate": group["lr"]} for group in groups]
    if mistake == "no return":
        return None
    return groups


for mistake, message in {
    "upside down": "upside down: the last layer has the full lr",
    "counts all": "layers without parameters count",
    "from 1": "the last layer has lr itself",
    "one each": "a layer's parameters share one rate",
    "linear": "they fall by equal factors",
    "harmonic": "as in 1, 1/2, 1/3",
    "equal": "decay isn't used",
    "two rates": "all but the last layer have one rate",
    "rises": "the rates rise towards the input",
    "no lr": "lr isn't used",
    "power of both": "the power is of lr * decay",
    "no biases": "layers[0].bias, layers[2].1.weight, layers[2].1.bias, layers[4].bias, layers[6].bias: in none",
    "weights of linear": "layers[2].0.weight, layers[2].1.weight, layers[2].1.bias: in none of the groups",
    "twice": "layers[2].0.weight, layers[2].1.weight, layers[2].1.bias: in two groups",
    "one group": "returns a dict, expected a list of dicts",
    "exhausted": "group 0 is empty",
    "empty": "group 4 is empty",
    "names": "group 0 holds a tuple, which is no parameter",
    "learning_rate": "group 0 has no lr: its keys are ['learning_rate', 'params']",
    "no return": "returns None, expected a list",
}.items():
    wrong("layerwise-rates", message)(partial(layerwise_groups, mistake=mistake))


# ------------------------------------------------------------------------------------------------------- linear-cka


def linear_cka(X, Y, mistake):
    """CKA, with one mistake."""
    if mistake not in ("not centred", "Y alone"):
        X = X - {"rows": X.mean(1, keepdim=True), "one mean": X.mean()}.get(mistake, X.mean(0))
    if mistake not in ("not centred", "X alone"):
        Y = Y - {"rows": Y.mean(1, keepdim=True), "one mean": Y.mean()}.get(mistake, Y.mean(0))
    if mistake == "standardised":
        X, Y = X / X.std(0), Y / Y.std(0)
    cross, xx, yy = Y.T @ X, X.T @ X, Y.T @ Y
    if mistake == "pairs":
        return ((X @ X.T) * (Y @ Y.T)).sum() / ((X @ X.T).norm() * (Y @ Y.T).norm())
    if mistake == "features":
        return cross / (xx.norm() * yy.norm()).sqrt()
    cka = cross.norm() ** 2 / (xx.norm() * yy.norm())
    return {
        "not squared": cross.norm() / (xx.norm() * yy.norm()),
        "squared below": cross.norm() ** 2 / (xx.norm() * yy.norm()) ** 2,
        "root": cka.sqrt(),
        "norms of X": cross.norm() ** 2 / (X.norm() * Y.norm()),
        "squared norms of X": cross.norm() ** 2 / (X.norm() * Y.norm()) ** 2,
        "spectral": torch.linalg.matrix_norm(cross, 2) ** 2
        / (torch.linalg.matrix_norm(xx, 2) * torch.linalg.matrix_norm(yy, 2)),
        "sums": cross.sum() / (xx.sum() * yy.sum()),
        "distance": 1 - cka,
        "vector": cka[None],
        "percent": 100 * cka,
    }.get(mistake, cka)


for mistake, message in {
    "not centred": "the features aren't centred",
    "X alone": "X alone is centred",
    "Y alone": "Y alone is centred",
    "rows": "the rows are centred",
    "one mean": "one mean is subtracted from all numbers",
    "standardised": "divided by their standard deviation",
    "not squared": "the norm above isn't squared",
    "squared below": "the norms below are squared",
    "root": "that is the root of CKA",
    "norms of X": "the norms below are of X and Y",
    "squared norms of X": "the squares of the norms of X and Y stand below",
    "spectral": "the norms are the largest singular values",
    "sums": "the entries are summed, not their squares",
    "distance": "1 - CKA is a distance",
    "vector": "shape [1] instead of one number",
    "percent": "100 times too large",
    "pairs": "makes a matrix [11, 11] for 11 images",
    "features": "shape [6, 4] instead of one number",
}.items():
    wrong("linear-cka", message)(partial(linear_cka, mistake=mistake))


# --------------------------------------------------------------------------------------------------------- few-shot


def few_shot(labels, per_class, generator, mistake):
    """The split, with one mistake."""
    if mistake == "global":
        generator = None
    if mistake == "own":
        generator = torch.Generator()
        generator.seed()
    train, test = [], []
    classes = range(int(labels.max()) + 1) if mistake == "from 0" else labels.unique()
    for k in classes:
        index = (labels == k).nonzero()[:, 0]
        if len(index) < per_class + (mistake == "keeps one") and mistake not in ("no error", "from 0"):
            raise (IndexError if mistake == "another error" else ValueError)("too few")
        if mistake == "unfair":
            start = int(torch.randint(len(index) - per_class + 1, (1,), generator=generator))
            index = index.roll(-start)
        elif mistake == "with repeats":
            chosen = torch.randint(len(index), (per_class,), generator=generator)
            train.append(index[chosen])
            test.append(index[~torch.isin(index, index[chosen])])
            continue
        elif mistake != "first ones":
            index = index[torch.randperm(len(index), generator=generator)]
        train.append(index[:per_class])
        test.append(index if mistake == "all" else index[per_class : 2 * per_class if mistake == "as many" else None])
    train, test = torch.cat(train), torch.cat(test)
    if mistake == "together":
        order = torch.randperm(len(labels), generator=generator)
        train, test = order[: len(train)], order[len(train) :]
    if mistake == "leak":
        test = torch.cat([train[:2], test])
    if mistake == "twice":
        test = torch.cat([test, test[:3]])
    if mistake == "one more":
        train, test = torch.cat([train, test[-1:]]), test[:-1]
    if mistake == "masks":
        return torch.zeros(len(labels)).index_fill(0, train, 1) > 0, torch.ones(len(labels)).index_fill(0, train, 0) > 0
    if mistake == "labels":
        return labels[train] + 100, labels[test]
    return train if mistake == "train alone" else (train, test)


for mistake, message in {
    "together": "all images are drawn together; draw from each class",
    "one more": "expected 1 of each",
    "with repeats": "the same image is drawn twice",
    "leak": "are in both parts",
    "all": "per_class = 1, labels 9 x 3, 14 x 7, 5 x 8, 40 x 12: images [",
    "twice": "67 images are held out, 64 of them different; expected all the 64 others",
    "as many": "4 images are held out, 4 of them different; expected all the 64 others",
    "first ones": "the same images are drawn by every seed",
    "unfair": "one image is drawn in",
    "global": "it draws from torch's own random numbers",
    "own": "two calls with generators of the same seed differ",
    "no error": "it returns fewer: raise a ValueError",
    "another error": "expected a ValueError, not IndexError",
    "keeps one": "ValueError in line",
    "masks": "train is bool [68], expected indices",
    "labels": "which is no index of 68 labels",
    "train alone": "returns int64 [4], expected two tensors",
}.items():
    wrong("few-shot", message)(partial(few_shot, mistake=mistake))


# ---------------------------------------------------------------------------------------------------- mend-transfer


def transfer(net, images, labels, new_images, epochs, lr, mistake):
    """Fine-tuning, with one mistake."""
    mean, std = net.mean, net.std
    if mistake in ("statistics of the new", "new ones by their own"):
        mean, std = new_images.mean((0, 2, 3), keepdim=True), new_images.std((0, 2, 3), keepdim=True)
    if mistake in ("statistics of the training", "by training images"):
        mean, std = images.mean((0, 2, 3), keepdim=True), images.std((0, 2, 3), keepdim=True)
    if mistake == "not normalised":
        mean, std = 0, 1
    own = (net.mean, net.std)
    train_by, test_by = (mean, std), (mean, std)
    if mistake in ("new ones by their own", "by training images"):
        train_by = own
    if mistake == "new ones not normalised":
        test_by = (0, 1)
    names, targets = labels.unique(return_inverse=True)
    outputs = {"largest label": int(labels.max()) + 1, "too many": 4}.get(mistake, len(names))
    if mistake != "old head":
        net.head = nn.Linear(net.head.in_features, outputs)
    parameters = net.head.parameters() if mistake == "head alone" else net.parameters()
    momentum = 0.9 if mistake == "momentum" else 0
    optimizer = torch.optim.SGD(parameters, lr=0.1 if mistake == "lr" else lr, momentum=momentum)
    net.train(mistake != "eval in training")
    for step in range(epochs + {"one more": 1, "one fewer": -1}.get(mistake, 0)):
        wanted = labels if mistake == "largest label" else targets
        chosen = slice(0, 6) if mistake == "half" else slice(None)
        loss = F.cross_entropy(net(((images - train_by[0]) / train_by[1])[chosen]), wanted[chosen])
        if mistake != "accumulates" or step == 0:
            optimizer.zero_grad()
        loss.backward()
        if mistake != "no step":
            optimizer.step()
    if mistake != "train mode":
        net.eval()
    if mistake == "no pass":
        return names[targets[: len(new_images)]]
    with torch.no_grad():
        logits = net((new_images - test_by[0]) / test_by[1])
    if mistake == "two passes":
        with torch.no_grad():
            net.train()(new_images)
            net(new_images)
            net.eval()((new_images - own[0]) / own[1])
    return {"numbers": logits.argmax(1), "least": names[logits.argmin(1) % 3], "logits": logits}.get(
        mistake, names[logits.argmax(1) % 3]
    )


for mistake, message in {
    "statistics of the new": "the net is trained on: right shape, wrong values: with statistics of the new images",
    "statistics of the training": "trained on: right shape, wrong values: with statistics of the new task's training",
    "not normalised": "the images that the net is trained on: right shape, wrong values: with statistics of nothing",
    "new ones by their own": "as the net sees them: right shape, wrong values: with statistics of the new images",
    "by training images": "as the net sees them: right shape, wrong values: with statistics of the new task's training",
    "new ones not normalised": "as the net sees them: right shape, wrong values: with statistics of nothing",
    "largest label": "the head has 9 outputs for 3 classes: labels 3, 7, 8 are three classes",
    "too many": "the head has 4 outputs for 3 classes: count the labels",
    "old head": "the head has 10 outputs for 3 classes: the old head has to be replaced",
    "train mode": "the new images go through the net in train mode",
    "eval in training": "batches of [] images pass in train mode; expected 4 passes of all 12",
    "half": "batches of [6, 6, 6, 6] images",
    "no step": "nothing is learned",
    "head alone": "the body isn't trained, only the head",
    "one more": "batches of [12, 12, 12, 12, 12] images",
    "one fewer": "batches of [12, 12, 12] images",
    "lr": "lr isn't used",
    "momentum": "the weights after 4 steps of SGD",
    "accumulates": "the gradients of all steps add up",
    "two passes": "batches of [12, 12, 12, 12, 9, 9] images pass in train mode",
    "no pass": "the last pass is of 12 images",
    "numbers": "these are the numbers of the classes",
    "least": "the least likely class",
    "logits": "the labels of the new images: shape [9, 3] instead of [9]",
}.items():
    wrong("mend-transfer", message)(partial(transfer, mistake=mistake))

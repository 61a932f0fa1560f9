"""The training loop of chapter 1, as the other chapters import it.

Knows: how to feed uint8 images to a network fast and repeatably, and how to measure it. Data lie on the device as
tensors, augmentations work on whole batches, convolutions run in channels_last and, where that is faster, in bfloat16.
Doesn't know: schedules other than one-cycle, checkpoints, several devices; Lightning does all that (end of chapter 1).
"""

import os
import platform
import time

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm


def strict():
    """True in the book's own runs (BOOK_STRICT=1): claims that don't hold are errors, no progress is shown."""
    return os.environ.get("BOOK_STRICT") == "1"


def device():
    """The device of this run: cuda if there is one, else cpu. BOOK_DEVICE=cpu or cuda asks for one by name.

    Raises ValueError for another name, RuntimeError if BOOK_DEVICE asks for a GPU that torch doesn't see.
    """
    asked = os.environ.get("BOOK_DEVICE")
    if asked not in (None, "cpu", "cuda"):
        raise ValueError(f"BOOK_DEVICE={asked!r}: expected cpu or cuda; unset it to take what is there")
    if asked == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("BOOK_DEVICE=cuda, but torch sees no GPU: check the driver, or unset it for the CPU")
    return torch.device(asked or ("cuda" if torch.cuda.is_available() else "cpu"))


def device_name():
    """What a measurement ran on, in words: the GPU's name, or the CPU's architecture and number of threads."""
    if device().type == "cuda":
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU ({platform.machine()}, {threads} thread{'s' if threads > 1 else ''})"


def fast_dtype():
    """torch.bfloat16 where this run's device multiplies it faster than float32, else torch.float32."""
    if device().type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    # A CPU without bfloat16 instructions computes bfloat16 correctly but slower. Only a private name tells which it is.
    has_bfloat16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.bfloat16 if has_bfloat16() else torch.float32


class Standardize(nn.Module):
    """First layer of a network: uint8 images [N, H, W, C] to float32 [N, C, H, W], each channel with mean 0 and sd 1.

    The mean and standard deviation are measured on `images`, the training images, and are saved with the network: a
    trained network can't be fed with the statistics of other data by mistake.
    """

    def __init__(self, images):
        super().__init__()
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise TypeError(f"expected uint8 images [N, H, W, C], got {images.dtype} {tuple(images.shape)}")
        pixels = images.flatten(0, 2).double()  # [N*H*W, C]
        self.register_buffer("mean", pixels.mean(0).float())
        self.register_buffer("std", pixels.std(0).clamp(min=1).float())  # a constant channel must not divide by zero

    def forward(self, images):
        x = (images - self.mean) / self.std  # [N, H, W, C]
        return x.permute(0, 3, 1, 2)  # [N, C, H, W]; its memory is still NHWC, which torch calls channels_last


def flip(images, generator):
    """Mirror each image [N, H, W, C] left to right with probability 1/2."""
    mirrored = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
    return torch.where(mirrored, images.flip(2), images)


def shift(images, generator, pixels=4):
    """Move each image [N, H, W, C] by up to `pixels` in both directions; what enters at the border is 0."""
    n, height, width = images.shape[:3]
    padded = F.pad(images, (0, 0, pixels, pixels, pixels, pixels))  # [N, H+2p, W+2p, C]
    dy, dx = torch.randint(0, 2 * pixels + 1, (2, n, 1), generator=generator, device=images.device)
    rows = (dy + torch.arange(height, device=images.device))[:, :, None]  # [N, H, 1]
    columns = (dx + torch.arange(width, device=images.device))[:, None, :]  # [N, 1, W]
    return padded[torch.arange(n, device=images.device)[:, None, None], rows, columns]


def fit(
    model,
    train,
    *,
    epochs,
    lr,
    batch_size=128,
    optimizer=torch.optim.AdamW,
    augment=(),
    validation=None,
    seed=0,
    label=None,
):
    """Train `model` in place by minimising softmax cross-entropy; returns one row per epoch as a DataFrame.

    model: takes uint8 images [N, H, W, C], gives logits [N, K] (its first layer is Standardize).
    train, validation: splits with .images uint8 [N, H, W, C] and .labels int64 [N].
    lr: the peak of a one-cycle schedule (Smith and Topin 2017), stepped once per batch.
    optimizer: called as optimizer(parameters, lr=lr), gives the update rule.
    augment: functions (images, generator) -> images, applied to each training batch in turn.
    seed: orders the batches and draws the augmentations and dropout masks. The initial weights are the caller's.
    label: what the progress bar calls this run; None hides the bar.
    Columns: epoch, loss (mean over the epoch's batches, nats), accuracy (on those batches), seconds, and, if
    `validation` is given, validation_loss and validation_accuracy. Raises FloatingPointError if the loss isn't finite.
    """
    torch.manual_seed(seed)
    here = device()
    model.to(here, memory_format=torch.channels_last)
    images, labels = train.images.to(here), train.labels.to(here)
    generator = torch.Generator(here).manual_seed(seed)
    optimizer = optimizer(model.parameters(), lr=lr)
    batches = -(-len(labels) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=epochs * batches)
    rows = []
    unwatched = label is None or strict()  # the book's own runs store no progress bars
    with tqdm(total=epochs * batches, desc=label, disable=unwatched, leave=False) as bar:
        for epoch in range(epochs):
            start, total, correct = time.perf_counter(), 0.0, 0
            model.train()
            for index in torch.randperm(len(labels), generator=generator, device=here).split(batch_size):
                batch, targets = images[index], labels[index]
                for change in augment:
                    batch = change(batch, generator)
                logits = _logits(model, batch)
                loss = F.cross_entropy(logits, targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.detach() * len(index)
                correct += (logits.detach().argmax(1) == targets).sum()
                bar.update()
            row = {"epoch": epoch + 1, "loss": float(total) / len(labels), "accuracy": int(correct) / len(labels)}
            if not row["loss"] < float("inf"):
                raise FloatingPointError(f"the loss is {row['loss']} after epoch {epoch + 1}: try an lr below {lr}")
            row["seconds"] = time.perf_counter() - start
            if validation is not None:
                row |= {f"validation_{name}": value for name, value in evaluate(model, validation).items()}
            bar.set_postfix({name: f"{row[name]:.3f}" for name in ("loss", "accuracy")})
            rows.append(row)
    return pd.DataFrame(rows)


def predict(model, images, batch_size=1000):
    """Logits float32 [N, K] of uint8 images [N, H, W, C], on the CPU, in evaluation mode and without gradients."""
    was_training = model.training
    model.to(device(), memory_format=torch.channels_last).eval()
    with torch.no_grad():
        logits = torch.cat([_logits(model, batch.to(device())).cpu() for batch in images.split(batch_size)])
    model.train(was_training)
    return logits


def evaluate(model, split):
    """Mean cross-entropy in nats and accuracy in 0..1 on a split: {"loss": float, "accuracy": float}."""
    logits, labels = predict(model, split.images), split.labels.cpu()
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    return {"loss": F.cross_entropy(logits, labels).item(), "accuracy": accuracy}


def _logits(model, images):
    """The forward pass in the fast dtype; logits come back in float32, so that the loss is computed exactly."""
    dtype = fast_dtype()
    with torch.autocast(device().type, dtype=dtype, enabled=dtype != torch.float32):
        return model(images).float()

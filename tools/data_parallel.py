"""The training loop of chapter 1 on several GPUs or machines: each process takes its share of every batch.

Knows: how a net becomes one whose batches are shared out, with the same losses and gradients as in a single process.
Doesn't know: the loop, which is utils.train.fit as it stands; nets with batch norm, whose statistics would be those of
a share (on GPUs `nn.SyncBatchNorm.convert_sync_batchnorm` gathers them).

    torchrun --nproc-per-node 4 -m tools.data_parallel --dataset cifar10 --epochs 20
"""

import argparse
import os
from functools import partial

import torch
import torch.distributed as dist
import torchvision
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from utils.data import load
from utils.train import Standardize, device, evaluate, fit


class Shared(nn.Module):
    """`net` for batches of which each of the world's processes computes a share: uint8 [N, H, W, C] -> logits [N, K].

    Every process is given the whole batch and gets all its logits, so that the loss is that of a single process; its
    own share's logits carry the gradient. DistributedDataParallel takes the mean over the processes: times their
    number, that is the sum over the shares, the whole batch's gradient.
    """

    def __init__(self, net):
        super().__init__()
        self.net = DistributedDataParallel(net)

    def forward(self, images):
        if not torch.is_grad_enabled():
            return self.net.module(images)
        world, rank, n = dist.get_world_size(), dist.get_rank(), len(images)
        share = -(-n // world)
        # Shares must be equally long to be gathered: the last are filled up with images whose logits are dropped.
        filled = torch.arange(share * world, device=images.device) % n
        logits = self.net(images[filled[rank * share : (rank + 1) * share]])
        logits.register_hook(lambda gradient: gradient * world)
        shares = [torch.empty_like(logits) for _ in range(world)]
        dist.all_gather(shares, logits.detach())
        shares[rank] = logits
        return torch.cat(shares)[:n]


def make_net(images, classes, seed=0):
    """ResNet-18 without batch norm: uint8 [N, H, W, C] -> logits [N, classes]."""
    torch.manual_seed(seed)
    norm = partial(nn.GroupNorm, 8)
    resnet = torchvision.models.resnet18(num_classes=classes, norm_layer=norm)
    resnet.conv1 = nn.Conv2d(images.shape[-1], 64, 3, padding=1, bias=False)  # for images of 32 x 32
    resnet.maxpool = nn.Identity()
    return nn.Sequential(Standardize(images), resnet)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="torchrun -m tools.data_parallel", description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", default="auto", help="as in utils.data.load")
    parser.add_argument("--train", type=int, help="training images, all if not given")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=512, help="of all processes together")
    parser.add_argument("--lr", type=float, default=3e-3)
    given = parser.parse_args(arguments)
    if "RANK" not in os.environ:
        parser.error("start it with torchrun, which says how many processes there are: see --help's first line")
    here = device()
    if here.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if here.type == "cuda" else "gloo")
    data = load(given.dataset, train=given.train)
    net = make_net(data.train.images, len(data.classes))
    net = Shared(net.to(here, memory_format=torch.channels_last))
    first = dist.get_rank() == 0
    options = {"epochs": given.epochs, "lr": given.lr, "batch_size": given.batch_size}
    rows = fit(net, data.train, label="training" if first else None, **options)
    if first:
        print(f"{dist.get_world_size()} processes on {here.type}")
        print(rows.to_string(index=False, float_format="%.5f"))
        print(f"validation: {evaluate(net, data.validation)}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

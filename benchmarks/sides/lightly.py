"""The sides of lightly on PyTorch, as its examples write them."""

import os


def import_lightly():
    """Import lightly and torchvision, and give PyTorch the cores of this process."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    try:
        import torchvision
    except RuntimeError:  # its compiled operators do not load beside this PyTorch; no comparison uses them
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _libraries.append(library)
        import torchvision  # noqa: F401
    import lightly  # noqa: F401


_libraries = []  # what they declare ends with them


def make_network(depth, image_size, width=1.0, hidden=None):
    """Return encoder and projection head as one torch module.

    hidden: width of the head's hidden layers; None for that of the features.
    Images of up to 64 pixels get the CIFAR network of lightly, whose stem has no stride; others that of torchvision.
    """
    from lightly.models import ResNetGenerator
    from lightly.models.modules import SimCLRProjectionHead
    from torch import nn
    from torchvision import models

    if image_size <= 64:
        network = ResNetGenerator(f"resnet-{depth}", width=width)
        encoder = nn.Sequential(*list(network.children())[:-1], nn.AdaptiveAvgPool2d(1))
        features = network.linear.in_features
    else:
        network = getattr(models, f"resnet{depth}")()
        encoder, features = nn.Sequential(*list(network.children())[:-1]), network.fc.in_features
    head = SimCLRProjectionHead(features, hidden or features, 128, num_layers=3)
    return nn.Sequential(encoder, nn.Flatten(), head)


def make_trainer(network, precision):
    """Return a function of views [2b, 3, h, w] that takes a step with them and returns the loss."""
    import torch
    from lightly.loss import NTXentLoss

    loss_of, optimizer = NTXentLoss(temperature=0.1), torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)

    def train_step(views):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            first, second = network(views).chunk(2)
        loss = loss_of(first.float(), second.float())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return train_step


def pretrain_step(depth, image_size, batch_size, precision, channels_last):
    """Return a Run of one step on finished views: forward, NT-Xent, backward, SGD with momentum."""
    import_lightly()
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = make_network(depth, image_size).train().to(memory_format=layout)
    views = torch.rand(2 * batch_size, 3, image_size, image_size).to(memory_format=layout)
    train_step = make_trainer(network, precision)
    return lambda: {"loss": train_step(views)}

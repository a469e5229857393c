"""Find a ResNet among the arrays of a PyTorch file, and account for every other one."""

import collections
import re
from typing import NamedTuple

import numpy as np

from simclr_keras.errors import InputError
from simclr_keras.interop.layers import Encoder
from simclr_keras.interop.torch_files.names import FC, TorchArray, classifier_arrays, encoder_arrays
from simclr_keras.models.resnet import BLOCKS

# In the names of networks that are kept beside the one to take: averages and keys (MoCo), students (DINO).
_BESIDE = re.compile(r"encoder_k|momentum|student|target|ema", re.IGNORECASE)
_HEADS = re.compile(
    r"(?:.*\.)?(?:fc|head|heads|classifier|online_classifier|projection_head|prediction_head|projector|predictor|"
    r"prototypes|momentum_projector|momentum_classifier)(?:\..+)?"
)
_TRAINING = re.compile(r"(?:.*\.)?(?:queue\w*|num_batches_tracked|center|global_step|epoch)")
# lightly's encoder is a Sequential of the children of torchvision's.
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
MAX_PROBLEMS = 3  # in a message


class TorchNetwork(NamedTuple):
    """A ResNet among the arrays of a file.

    Attributes:
        encoder: its variant. num_classes: of the classifier on its representation, or None.
        variables: list of TorchArray.
        arrays: its arrays by their names in torchvision and timm.
        left_out: number of the file's other arrays by what they are.
    """

    encoder: Encoder
    num_classes: int | None
    variables: list[TorchArray]
    arrays: dict[str, np.ndarray]
    left_out: dict[str, int]


def match_arrays(arrays: dict[str, np.ndarray], path: str) -> TorchNetwork:
    """Return the TorchNetwork in the arrays of a file.

    Names may follow any prefix, such as module.encoder_q. of MoCo or backbone. of solo-learn and lightly, where the
    encoder may be a Sequential too. If a file contains several networks, averages, keys and students are left out.

    Raises:
        InputError: one line: there is no ResNet or more than one; or an array is missing, unexpected or of another
            shape, with the first names.
    """
    arrays = _with_names_of_children(arrays)
    prefix, others = _choose(arrays, path)
    own = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    encoder = _encoder(own)
    variables = encoder_arrays(encoder)
    num_classes = _num_classes(own, encoder.features, prefix)
    if num_classes is not None:
        variables += classifier_arrays(encoder.features, num_classes)
    expected = {name: array.torch_shape for array in variables for name in array.names}
    problems = [
        f"{prefix}{name} is {'missing' if name not in own else list(own[name].shape)} instead of {list(shape)}"
        for name, shape in expected.items()
        if name not in own or own[name].shape != shape
    ]
    left_out: dict[str, int] = collections.Counter()
    for name, value in arrays.items():
        if name.startswith(prefix) and name.removeprefix(prefix) in expected:
            continue
        kind = _kind(name, others)
        if kind is None:
            problems.append(f"{name} {list(value.shape)} is unexpected")
        else:
            left_out[kind] += 1
    problems += [
        f"{prefix}{name} is not finite"
        for name in expected
        if name in own and not np.all(np.isfinite(own[name]))
    ]
    if problems:
        more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        raise InputError(
            f"{path} does not fit {encoder.name}: {'; '.join(problems[:MAX_PROBLEMS])}{more}. Give the weights of a "
            "ResNet of torchvision or timm."
        )
    return TorchNetwork(encoder, num_classes, variables, own, dict(left_out))


def _with_names_of_children(arrays):
    """Return the arrays with torchvision's names instead of the places in a Sequential."""
    anchor = re.compile(r"(.*\.)?4\.0\.conv1\.weight")
    prefixes = [match[1] or "" for name in arrays if (match := anchor.fullmatch(name))]
    for prefix in prefixes:
        place = re.compile(rf"{re.escape(prefix)}([014567])\.(.+)")

        def named(name, place=place, prefix=prefix):
            match = place.fullmatch(name)
            return f"{prefix}{_CHILDREN[match[1]]}.{match[2]}" if match else name

        arrays = {named(name): value for name, value in arrays.items()}
    return arrays


def _choose(arrays, path):
    """Return (prefix of the network to take, those of the others)."""
    anchor = re.compile(r"(.*\.)?layer1\.0\.conv1\.(?:conv\.)?weight")
    prefixes = [match[1] or "" for name in arrays if (match := anchor.fullmatch(name))]
    if not prefixes:
        first = f"its first array is {next(iter(arrays))}" if arrays else "it has no arrays"
        raise InputError(
            f"{path} contains no ResNet: no layer1.0.conv1.weight, {first}. Give the weights of a ResNet of "
            "torchvision or timm."
        )
    taken = prefixes if len(prefixes) == 1 else [prefix for prefix in prefixes if not _BESIDE.search(prefix)]
    if len(taken) != 1:
        raise InputError(
            f"{path} contains several networks: {', '.join(prefixes)}; save the arrays of one of them to a file of its "
            "own."
        )
    return taken[0], [prefix for prefix in prefixes if prefix != taken[0]]


def _encoder(own) -> Encoder:
    """Return the variant that the names and shapes show; `match_arrays` then checks each of them."""
    blocks = tuple(
        len({name.split(".")[1] for name in own if name.startswith(f"layer{group}.")})
        for group in range(1, 5)
    )
    bottleneck = any(re.fullmatch(r"layer1\.0\.conv3\.(conv\.)?weight", name) for name in own)
    depths = [depth for depth, counts in BLOCKS.items() if counts == blocks and (depth >= 50) == bottleneck]
    depth = (
        depths[0]
        if depths
        else min(
            (depth for depth in BLOCKS if (depth >= 50) == bottleneck),
            key=lambda d: abs(sum(BLOCKS[d]) - sum(blocks)),
        )
    )
    last = next((own[n] for n in ("layer4.0.conv1.weight", "layer4.0.conv1.conv.weight") if n in own), None)
    width = 1.0 if last is None else last.shape[0] / 512
    stem = own.get("conv1.weight")
    small = stem is not None and stem.shape[-1] == 3
    selective = "conv1.0.weight" in own or "layer1.0.conv2.paths.0.conv.weight" in own
    gate = own.get("layer1.0.se.fc1.weight")
    ratio = 0.0 if gate is None or width == 0 else gate.shape[0] / (64 * width)
    return Encoder(depth, width, selective, ratio, small)


def _num_classes(own, features, prefix) -> int | None:
    """Return the classes of the classifier; None without one. Beside a contrastive network, fc is its head."""
    weight = own.get(f"{FC}.weight")
    plain = prefix in ("", "module.", "model.", "state_dict.", "state_dict.module.", "model_state_dict.")
    if (
        not plain
        or weight is None
        or weight.ndim != 2
        or weight.shape[1] != features
        or f"{FC}.bias" not in own
    ):
        return None
    return int(weight.shape[0])


def _kind(name, others) -> str | None:
    """Return what an array is that is not taken; None if it should not be there."""
    if _TRAINING.fullmatch(name):
        return "training"
    if any(prefix and name.startswith(prefix) for prefix in others):
        return "other networks"
    return "heads" if _HEADS.fullmatch(name) and not re.search(r"layer\d\.", name) else None

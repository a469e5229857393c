"""A set of keys with any one thing wrong is refused with the key that is wrong, or the variable that it misses."""

import collections

import numpy as np
import pytest

from simclr_keras.errors import InputError
from tests.interop.key_sets import FORMS, is_models, match, shapes_of
from tests.interop.release_files import CASES


def missing(rng, form, shapes, key):
    del shapes[key]
    return []  # the path of the variable, see `corrupted`


def doubled(rng, form, shapes, key):
    layer, _, role = key.rpartition("/") if form != "tf2" else key.partition("/.ATTRIBUTES")
    other = {
        "tf1": f"{layer.rstrip('0123456789')}0{layer[len(layer.rstrip('0123456789')) :]}/{role}",
        "tf2": key.replace("/0/", "/00/", 1) if "/0/" in key else f"{layer}_1/.ATTRIBUTES/VARIABLE_VALUE",
        "saved": f"{layer}_copy/{role}",
    }[form]
    if form == "saved" and "batch_normalization" in layer:
        sync = "sync_batch_normalization" in layer
        words = ("sync_batch_", "batch_") if sync else ("batch_normalization", "sync_batch_normalization")
        other = f"{words[1].join(layer.rsplit(words[0], 1))}/{role}"
    shapes[other] = shapes[key]
    return [other, key]


def mis_shaped(rng, form, shapes, key):
    shape = list(shapes[key])
    axis = rng.integers(len(shape) + 1)
    if axis == len(shape):
        shape.append(1)
    else:
        shape[axis] = int(rng.choice([max(shape[axis] // 2, 1) + 1, shape[axis] + 1, 2 * shape[axis]]))
    shapes[key] = tuple(shape)
    return [key]


def renamed(rng, form, shapes, key):
    parts = key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE").split("/")
    tail = "/.ATTRIBUTES/VARIABLE_VALUE" if form == "tf2" else ""
    place = rng.integers(len(parts))
    parts[place] = rng.choice([f"{parts[place]}s", f"my_{parts[place]}", "layer"])
    other = "/".join(parts) + tail
    shapes[other] = shapes.pop(key)
    return [other, key]


def foreign(rng, form, shapes, key):
    tail = "/.ATTRIBUTES/VARIABLE_VALUE" if form == "tf2" else ""
    head = key.removesuffix(tail).rpartition("/")[0]
    root = {"tf1": "base_model", "tf2": "model/resnet_model", "saved": "resnet"}[form]
    names = [f"{head}/renorm_mean", f"{root}/conv2d_999/kernel", f"{root}/dense/kernel", "decoder/kernel"]
    other = f"{rng.choice([*names, f'{root}/batch_normalization_999/gamma'])}{tail}"
    shapes[other] = (3, 3)
    return [other]


def renamed_head_part(rng, form, shapes, key):
    """Keys of a layer of the projection head, one or all, said to be of another layer, or of a linear head."""
    layers = {
        "tf1": "head_contrastive/nl_",
        "tf2": "_projection_head/linear_layers/",
        "saved": "projection_head/nl_",
    }
    old = f"{layers[form]}{rng.integers(3)}/"
    new = (
        f"{layers[form]}7/"
        if form == "tf2"
        else str(rng.choice([layers[form].replace("nl_", "l_0/"), f"{layers[form]}7/"]))
    )
    keys = sorted(key for key in filter(is_models, shapes) if old in key)
    keys = keys if rng.integers(2) else [str(rng.choice(keys))]
    others = [key.replace(old, new) for key in keys]
    shapes |= {other: shapes.pop(key) for key, other in zip(keys, others)}
    return [*others, *keys]


KINDS = (missing, doubled, mis_shaped, renamed, foreign, renamed_head_part)


def corrupted(seed):
    """(format, name, kind, shapes, words of which the message must have one)."""
    rng = np.random.default_rng(seed)
    form, case = rng.choice([*FORMS]), rng.choice([*CASES])
    kind = KINDS[rng.integers(len(KINDS))]
    shapes = dict(shapes_of(form, case, start=int(rng.choice([0, 5]))))
    key = str(rng.choice(sorted(filter(is_models, shapes))))
    (path,) = (path for path, own in match(form, shapes, CASES[case]).keys.items() if own == key)
    words = kind(rng, form, shapes, key) or [f"missing {path} "]
    return form, CASES[case], kind, shapes, [str(word) for word in words]


@pytest.mark.slow
def test_corrupted_keys_are_named():
    seen = collections.Counter()
    for seed in range(200):
        form, name, kind, shapes, words = corrupted(seed)
        with pytest.raises(InputError) as raised:
            match(form, shapes, name)
        message = str(raised.value)
        assert any(word in message for word in words), (seed, kind.__name__, words, message)
        assert "\n" not in message
        seen[form, kind.__name__] += 1
    assert len(seen) == len(FORMS) * len(KINDS)
    assert min(seen.values()) > 4


@pytest.mark.slow
def test_corrupted_moving_average():
    for seed in range(100):
        rng = np.random.default_rng(seed)
        shapes = shapes_of("tf1", "r18_cifar")
        key = str(rng.choice(sorted(key for key in shapes if key.startswith("ema_model"))))
        (path,) = (path for path, own in match("tf1", shapes, ema=True).keys.items() if own == key)
        words = (missing, mis_shaped, renamed)[seed % 3](rng, "tf1", shapes, key) or [f"missing {path} "]
        with pytest.raises(InputError) as raised:
            match("tf1", shapes, ema=True)
        assert any(word in str(raised.value) for word in words), (words, raised.value)

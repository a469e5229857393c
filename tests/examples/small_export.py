"""A small export with a card, and pictures in folders."""

import json

import keras
import numpy as np
from PIL import Image

from simclr_keras.export.formats.saved_model import write_saved_model
from simclr_keras.models.zoo import create_model

SIZE = 8


def write_export(path):
    """Writes a network with random weights as an export."""
    keras.utils.set_random_seed(0)
    model = create_model("r18_0.125x_sk0", image_size=SIZE, proj_layers=1, proj_dim=8)
    write_saved_model(model, str(path), image_size=SIZE)
    card = {"format": "simclr_keras export", "model": "r18_0.125x_sk0", "image_size": SIZE}
    (path / "card.json").write_text(json.dumps(card))


def write_pictures(folder, count=10):
    """Writes dark and bright pictures, each kind into a folder of its own."""
    random = np.random.default_rng(0)
    for name, low in (("dark", 0), ("bright", 156)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = random.integers(low, low + 100, (12, 10, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")

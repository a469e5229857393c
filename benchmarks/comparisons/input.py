"""Two finished views of every image, all work counted, against lightly's SimCLRTransform in a DataLoader.

Photos are JPEGs of 500 x 375 pixels in memory; small images are arrays. A round is one epoch, so that nothing is made
before it begins.
"""

import io

from benchmarks.side_by_side.cases import BESIDE, OURS, PEER, Case, Side
from benchmarks.sides.lightly import import_lightly
from benchmarks.sides.ours import start_tensorflow

WORKERS = 2


def cases(quick: bool) -> list[Case]:
    """Return the cases; quick: few images, and small views of photos."""
    sizes = {"photos": 40 if quick else 224, "arrays": 32}
    counts = {"photos": 8 if quick else 256, "arrays": 16 if quick else 20_480}
    batches = {"photos": 4 if quick else 32, "arrays": 8 if quick else 512}
    goals = {"photos": 2.0, "arrays": None}
    listed = []
    for kind, size in sizes.items():
        settings = {"kind": kind, "count": counts[kind], "batch_size": batches[kind], "image_size": size}
        xla = {"compile": not quick}
        sides = {
            "ours": Side(ours, {**settings, **xla}, OURS),
            "ours, host part alone": Side(ours, {**settings, "augment": False}, BESIDE),
            "lightly": Side(lightly, settings, PEER, lightly=True),
        }
        name = f"{kind}, two views of {size} px"
        listed.append(Case(name, sides, counts[kind], "images", least_ratio=goals[kind]))
    return listed


def ours(kind, count, batch_size, image_size, augment=True, compile=True):
    """Return a Run of an epoch of our batches.

    augment: with color and blur, which run on the device; compile: by XLA, as in training.
    """
    start_tensorflow()
    import tensorflow as tf

    from simclr_keras.data.pipeline import train_batches
    from simclr_keras.data.sources.source import ArrayStore, BytesStore, RowIds, Source
    from simclr_keras.data.views.color_blur import ColorBlur

    store = BytesStore(tf.constant(jpegs(count))) if kind == "photos" else ArrayStore(arrays(count))
    source = Source(kind, store, RowIds("train", count))
    dataset = train_batches(
        source,
        image_size=image_size,
        batch_size=batch_size,
        seed=0,
        first_step=0,
        num_steps=count // batch_size,
    )
    of_cifar = {"color_strength": 0.5, "blur": False}
    color_blur = ColorBlur(image_size, compile=compile, **({} if kind == "photos" else of_cifar))
    finish = tf.function(lambda views, step: color_blur(views, step), autograph=False)

    def run():
        for step, batch in enumerate(dataset):
            if augment:
                finish(batch["views"], tf.constant(step))

    return run


def lightly(kind, count, batch_size, image_size):
    """Return a Run of an epoch of lightly's batches."""
    import_lightly()
    from lightly.transforms.simclr_transform import SimCLRTransform
    from PIL import Image
    from torch.utils.data import DataLoader

    if kind == "photos":
        files, transform = jpegs(count), SimCLRTransform(input_size=image_size)
    else:
        images = arrays(count)
        transform = SimCLRTransform(input_size=image_size, cj_strength=0.5, gaussian_blur=0.0)

    class Images:
        def __len__(self):
            return count

        def __getitem__(self, row):
            if kind == "photos":
                return transform(Image.open(io.BytesIO(files[row])).convert("RGB"))
            return transform(Image.fromarray(images[row]))

    loader = DataLoader(
        Images(), batch_size, shuffle=True, num_workers=WORKERS, drop_last=True, persistent_workers=True
    )

    def run():
        for _ in loader:
            pass

    return run


def jpegs(count, different=32):
    """Return smooth images of 500 x 375 with some noise, as JPEG files of about 100 kB."""
    import numpy as np
    from PIL import Image

    rng, files = np.random.default_rng(0), []
    for _ in range(min(count, different)):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize(
            (500, 375), Image.BICUBIC
        )
        pixels = np.clip(np.asarray(coarse) + rng.normal(0, 12, (375, 500, 3)), 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return [files[index % len(files)] for index in range(count)]


def arrays(count):
    """Return images like those of CIFAR-10, uint8 [count, 32, 32, 3]."""
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)

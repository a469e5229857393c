"""How sure a fine-tuned run is of the images whose labels it has seen: what else a student could learn from them.

    python benchmarks/teacher_sharpness.py runs/cifar10_method/seed0/finetune-1pct-layer1

Prints, for the labeled training images and for as many others, how many it gets right, and the mean of the greatest
probability at the temperatures 0.1 and 1. The run must be on an archive (npz:).
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import numpy as np
import tensorflow as tf

from simclr_keras.preprocess import evaluation_view
from simclr_keras.runs.open_run import open_run

BATCH = 250


def main(path):
    run = open_run(path)
    model = run.model()
    arrays = np.load(run.config.dataset.removeprefix("npz:"), allow_pickle=False)
    split = json.loads((pathlib.Path(path) / "split.json").read_text())
    seen = np.array([int(name.rpartition("/")[2]) for name in split["labeled"]])
    held_out = [int(name.rpartition("/")[2]) for name in split["held_out"]]
    others = np.setdiff1d(np.arange(len(arrays["x_train"])), [*seen, *held_out])[: len(seen)]
    for name, rows in (("labeled", seen), ("others", others)):
        views = evaluation_view(arrays["x_train"][rows], run.image_size)
        parts = [model(views[i : i + BATCH], training=False)["logits"] for i in range(0, len(rows), BATCH)]
        logits = tf.concat(parts, 0)
        right = np.mean(np.argmax(logits, 1) == arrays["y_train"][rows].ravel())
        greatest = {t: float(tf.reduce_mean(tf.reduce_max(tf.nn.softmax(logits / t), 1))) for t in (0.1, 1.0)}
        shown = ", ".join(f"{value:.2f} at temperature {t:g}" for t, value in greatest.items())
        print(f"{name:9} {len(rows)} images: {right:.1%} right; greatest probability {shown}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/teacher_sharpness.py RUN_DIR")
    main(sys.argv[1])

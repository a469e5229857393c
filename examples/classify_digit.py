"""Load an export and classify one digit; the last step of `make demo`.

python examples/classify_digit.py exports/digits
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow imports matplotlib, and the module of a notebook may be missing here.
os.environ["MPLBACKEND"] = "agg"

import tensorflow as tf
from sklearn.datasets import load_digits

digit = tf.image.grayscale_to_rgb(
    tf.image.resize(load_digits().images[:1, ..., None] / 16, (16, 16), "bicubic")
)
model = tf.saved_model.load(sys.argv[1])
logits = model.signatures["logits"](images=tf.clip_by_value(digit, 0, 1))["logits"]
print(f"digit    {load_digits().target[0]} classified as {int(tf.argmax(logits[0]))} by {sys.argv[1]}")

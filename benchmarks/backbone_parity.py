"""Compare Keras backbones with the networks of keras.applications that they are made from.

    python benchmarks/backbone_parity.py

For the smallest network of each family, prints the largest difference between our pooled output and that of
keras.applications with its own preprocessing, as a share of the largest value. Random weights and statistics, two
images of the least size. Exits with 1 if a network differs by more than 1e-4. --quick compares MobileNet only.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import keras
import numpy as np

from benchmarks.command_line import make_parser, parse
from simclr_keras.models.backbone_names import backbone_record
from simclr_keras.models.foreign.backbones import stock_model
from simclr_keras.models.zoo import create_model

# The smallest network of each family, with the module of its preprocessing.
FAMILIES = {
    "VGG16": "vgg16",
    "ResNet50": "resnet",
    "ResNet50V2": "resnet_v2",
    "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3Small": "mobilenet_v3",
    "NASNetMobile": "nasnet",
    "InceptionV3": "inception_v3",
    "InceptionResNetV2": "inception_resnet_v2",
    "Xception": "xception",
    "DenseNet121": "densenet",
    "EfficientNetB0": "efficientnet",
    "EfficientNetV2B0": "efficientnet_v2",
    "EfficientNetV2S": "efficientnet_v2",
    "ConvNeXtTiny": "convnext",
}
TOLERANCE = 1e-4


def difference(name):
    """Return the largest difference of the pooled outputs, as a share of the largest value."""
    record = backbone_record(f"keras:{name}")
    size = record.min_size
    keras.utils.set_random_seed(0)
    model = create_model(f"keras:{name}", image_size=size, num_classes=3)
    stock = stock_model(record, size)
    random = np.random.default_rng(1)
    for weight in stock.weights:
        if "float" in str(weight.dtype):
            value = weight.numpy() * random.uniform(0.95, 1.05, weight.shape)
            weight.assign(value + random.uniform(0, 1e-3, weight.shape))
    for layer in stock.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # or it computes with the values before
    theirs = [weight for weight in stock.weights if not weight.path.endswith("/count")]
    ours = [weight for weight in model.encoder.base.weights if not weight.path.endswith("/draws")]
    for weight, value in zip(ours, theirs, strict=True):
        weight.assign(value)
    images = random.uniform(0, 1, (2, size, size, 3)).astype("float32")
    preprocess = getattr(keras.applications, FAMILIES[name]).preprocess_input
    expected = stock(preprocess(images * 255.0)).numpy()
    if np.std(expected) < 1e-5:
        raise ValueError(f"keras:{name} with these weights gives the same value everywhere")
    return float(np.abs(model(images)["pooled"] - expected).max() / np.abs(expected).max())


def main(argv=None):
    parser = make_parser(__doc__)
    options = parse(parser, argv)
    failures = 0
    for name in ["MobileNet"] if options.quick else FAMILIES:
        share = difference(name)
        failures += share > TOLERANCE
        print(f"keras:{name:18} differs by {share:.1e} of its largest value", flush=True)
    print(f"{failures} networks differ by more than {TOLERANCE:g}")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())

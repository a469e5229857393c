"""Time an exported network and the same network in process, and measure the size of the export.

Four ways to compute the representation are timed, in float32 on the same images: the model in a tf.function (the
fastest way in process), the model called eagerly, the signature `encoder` of its SavedModel, and the SavedModel in a
HubLayer. They take turns in one process, so that a machine that slows down slows all. Prints median rates, and ratios
of paired turns with quartiles; above 1 the export is faster. Also prints the bytes of the SavedModel divided by those
of the parameters.

    python benchmarks/export_speed.py                       # r50_1x_sk0, 224 px, batches of 1 and 32
    python benchmarks/export_speed.py --model=r18_0.25x_sk0 --image_size=32
"""

import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import numpy as np
import tensorflow as tf

from benchmarks.command_line import make_parser, parse
from simclr_keras.export.formats.saved_model import write_saved_model
from simclr_keras.export.loading.hub_layer import HubLayer
from simclr_keras.models.zoo import create_model

ENDPOINT = "final_avg_pool"
WARM_UP = 2


def make_functions(model, path):
    """Return {name: function of images to their representation}."""
    graph = tf.function(lambda images: model(images, training=False)[ENDPOINT], autograph=False)
    signature = tf.saved_model.load(path).signatures["encoder"]
    layer = HubLayer(path, endpoint="encoder")
    in_graph = tf.function(lambda images: layer(images, training=False), autograph=False)
    return {
        "in process": graph,
        "in process, eager": lambda images: model(images, training=False)[ENDPOINT],
        "export": lambda images: signature(images=images)[ENDPOINT],
        "HubLayer": in_graph,
    }


def seconds(function, images):
    started = time.perf_counter()
    function(images).numpy()
    return time.perf_counter() - started


def quartiles(values):
    low, _, high = statistics.quantiles(values, n=4)
    return f"{statistics.median(values):.2f} ({low:.2f}-{high:.2f})"


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="r50_1x_sk0")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batches", default="1,32", help="[%(default)s]")
    parser.add_argument("--turns", type=int, default=15, help="of each batch size [%(default)s]")
    arguments = parse(parser, argv, model="r18_0.05x_sk0", image_size=8, batches="1,2", turns=2)
    model = create_model(arguments.model, num_classes=1000, image_size=arguments.image_size)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/export"
        write_saved_model(model, path, image_size=arguments.image_size)
        size = sum(file.stat().st_size for file in pathlib.Path(path).rglob("*") if file.is_file())
        parameters = 4 * model.count_params()
        print(f"{arguments.model}: {size / 1e6:.1f} MB, {size / parameters:.3f} of its parameters' bytes")
        functions = make_functions(model, path)
        for batch in map(int, arguments.batches.split(",")):
            shape = (batch, arguments.image_size, arguments.image_size, 3)
            images = tf.constant(np.random.default_rng(0).uniform(size=shape), tf.float32)
            times = {name: [] for name in functions}
            for turn in range(WARM_UP + arguments.turns):
                for name, function in functions.items():
                    duration = seconds(function, images)
                    if turn >= WARM_UP:
                        times[name].append(duration)
            print(f"batch {batch}:")
            for name, durations in times.items():
                rate = batch / statistics.median(durations)
                ratios = [first / other for first, other in zip(times["in process"], durations)]
                print(f"  {name:<18} {rate:8.1f} images/s  {quartiles(ratios)} of in process")


if __name__ == "__main__":
    main()

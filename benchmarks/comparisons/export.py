"""The encoder of an export, in a SavedModel and in a HubLayer, against the network in process."""

import tempfile

from benchmarks.side_by_side.cases import BESIDE, OURS, PEER, Case, Side
from benchmarks.sides.ours import start_tensorflow

ENDPOINT = "final_avg_pool"


def cases(quick: bool) -> list[Case]:
    """Return the cases; quick: a tiny network."""
    model, size, batches = ("r18_0.05x_sk0", 8, (2,)) if quick else ("r50_1x_sk0", 224, (1, 32))
    return [
        Case(
            f"{model}, {size} px, batch {batch}, float32",
            {
                name: Side(compute, {"way": way, "model": model, "image_size": size, "batch": batch}, role)
                for name, way, role in (
                    ("export", "export", OURS),
                    ("in process", "graph", PEER),
                    ("in process, eager", "eager", BESIDE),
                    ("HubLayer", "layer", BESIDE),
                )
            },
            units=batch,
            unit="images",
        )
        for batch in batches
    ]


def compute(way, model, image_size, batch):
    """Return a Run of the representation of a batch; way: "graph", "eager", "export" or "layer"."""
    start_tensorflow()
    import tensorflow as tf

    from simclr_keras.export.formats.saved_model import write_saved_model
    from simclr_keras.export.loading.hub_layer import HubLayer
    from simclr_keras.models.zoo import create_model

    network = create_model(model, num_classes=1000, image_size=image_size)
    images = tf.random.stateless_uniform((batch, image_size, image_size, 3), (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        if way in ("export", "layer"):
            write_saved_model(network, f"{folder}/export", image_size=image_size)
        if way == "export":
            signature = tf.saved_model.load(f"{folder}/export").signatures["encoder"]
        if way == "layer":
            layer = HubLayer(f"{folder}/export", endpoint="encoder")
    functions = {
        "eager": lambda: network(images, training=False)[ENDPOINT],
        "graph": tf.function(lambda: network(images, training=False)[ENDPOINT], autograph=False),
        "export": lambda: signature(images=images)[ENDPOINT],
        "layer": tf.function(lambda: layer(images, training=False), autograph=False),
    }

    def run():
        functions[way]().numpy()

    return run

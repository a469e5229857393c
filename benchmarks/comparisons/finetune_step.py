"""Fine-tuning steps: our training loop with Classifier, against keras.Model.fit.

Both take the same prepared batches and SGD with momentum. "fit" trains the same network, so it must end with the same
loss; "fit, stock layers" trains a ResNet of stock layers. A round of fit is one epoch of STEPS steps.
"""

from benchmarks.side_by_side.cases import BESIDE, OURS, PEER, Case, Side
from benchmarks.sides.ours import start_tensorflow
from benchmarks.sides.plain_keras import resnet

CLASSES, STEPS = 10, 4


def cases(quick: bool) -> list[Case]:
    """Return the cases; quick: tiny images."""
    work = (
        ((9, "r18_0.05x_sk0", 8, 4),) if quick else ((50, "r50_1x_sk0", 224, 8), (18, "r18_1x_sk0", 32, 64))
    )
    listed = []
    for depth, model, image_size, batch_size in work:
        shape = {"image_size": image_size, "batch_size": batch_size}
        sides = {
            "ours": Side(ours, {"model": model, **shape}, OURS),
            "fit": Side(fit, {"model": model, **shape}, PEER),
            "fit, stock layers": Side(fit, {"depth": depth, **shape}, BESIDE),
        }
        name = f"{model}, {image_size} px, batch {batch_size}, float32"
        listed.append(Case(name, sides, units=STEPS * batch_size, unit="images"))
    return listed


def ours(model, image_size, batch_size):
    """Return a Run of STEPS steps of our loop."""
    start_tensorflow()
    import tensorflow as tf

    from simclr_keras.objectives.classification import Classifier
    from simclr_keras.training.engine.loop import make_step_function
    from simclr_keras.training.engine.signals import Stop

    learner = Classifier(make_network(model, image_size))
    learner.compile(make_optimizer())
    take_steps = make_step_function(learner, tf.distribute.get_strategy(), Stop())
    iterator = iter(make_batches(image_size, batch_size))

    def run():
        learner.reset_metrics()
        take_steps(iterator, STEPS)
        return {"loss": float(learner.get_metrics_result()["loss"])}

    return run


def fit(image_size, batch_size, model=None, depth=None):
    """Return a Run of one epoch of keras.Model.fit, of our network `model` or of a plain ResNet of a depth."""
    start_tensorflow()
    import keras

    images = keras.Input((image_size, image_size, 3), dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 255)(images)
    if model:
        logits = make_network(model, image_size)(scaled)["logits"]
    else:
        logits = keras.layers.Dense(CLASSES)(resnet(keras, depth, image_size)(scaled))
    network = keras.Model(images, logits)
    network.compile(
        make_optimizer(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,  # XLA is slower on CPUs
    )
    batches = make_batches(image_size, batch_size).map(lambda batch: (batch["views"][:, 0], batch["label"]))

    def run():
        history = network.fit(batches, epochs=1, steps_per_epoch=STEPS, verbose=0)
        return {"loss": history.history["loss"][-1]}

    return run


def make_network(model, image_size):
    """Return our classifier, with the same weights in every process."""
    import keras

    from simclr_keras.models.zoo import create_model

    keras.utils.set_random_seed(0)
    return create_model(model, num_classes=CLASSES, proj_layers=0, image_size=image_size)


def make_optimizer():
    import keras

    return keras.optimizers.SGD(0.01, momentum=0.9)


def make_batches(image_size, batch_size):
    """Return an endless dataset of the same STEPS batches."""
    import numpy as np
    import tensorflow as tf

    rng, size = np.random.default_rng(0), (STEPS, batch_size, 1, image_size, image_size, 3)
    batches = {
        "views": rng.integers(0, 256, size, np.uint8),
        "label": rng.integers(0, CLASSES, size[:2], np.int32),
    }
    return tf.data.Dataset.from_tensor_slices(batches).repeat().prefetch(2)

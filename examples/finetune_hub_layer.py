"""Fine-tune an export in Keras 3: HubLayer, one Dense layer on top of it, and fit.

    python examples/finetune_hub_layer.py --export=exports/photos --images=photos --save=classifier.keras

--export is a folder of simclr export, --images a folder with one sub-folder per class; without --images it learns
scikit-learn's handwritten digits. The file that --save writes needs neither folder:

    from simclr_keras import HubLayer  # registers the layer with Keras
    model = keras.models.load_model("classifier.keras")
"""

import argparse
import os
import sys

# It works without installing the package, too.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from simclr_keras.backend import start_tensorflow_quietly
from simclr_keras.config import command_line
from simclr_keras.errors import InputError


def fine_tune(
    export: str,
    images: str | None = None,
    epochs: int = 5,
    learning_rate: float = 0.01,
    frozen: bool = False,
    save: str | None = None,
) -> float:
    """Return the accuracy of the fine-tuned model on held-out images."""
    import keras
    import tensorflow as tf

    from simclr_keras import HubLayer
    from simclr_keras.data import pipeline
    from simclr_keras.data.sources.load_dataset import load_dataset
    from simclr_keras.export.card import is_antialiased, read_card

    encoder = HubLayer(export, endpoint="encoder", trainable=not frozen)
    card = read_card(export)
    size = card.get("image_size", 224)
    data = load_dataset(f"folder:{images}" if images else "digits", eval_fraction=0.2)
    if data.class_names is None:
        raise InputError(f"--images={images} has no classes; give a folder with one sub-folder per class.")
    # Decoded, cropped and resized, with pixels in [0, 1], as in the training of the encoder.
    train, held_out = (
        pipeline.eval_batches(source, image_size=size, batch_size=32, antialias=is_antialiased(card)).map(
            lambda x: (x["image"], x["label"])
        )
        for source in (data.train, data.evaluation)
    )

    inputs = keras.Input((size, size, 3))
    outputs = keras.layers.Dense(len(data.class_names))(encoder(inputs))
    model = keras.Model(inputs, outputs)
    model.compile(
        keras.optimizers.SGD(learning_rate, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    kind = "frozen" if frozen else f"{len(encoder.trainable_weights)} trainable weights"
    print(f"{card.get('model', export)}: {kind}; {len(data.class_names)} classes, images of {size} pixels")
    examples = train.unbatch().apply(tf.data.experimental.assert_cardinality(data.train.num_examples))
    model.fit(examples.shuffle(2000).batch(32), epochs=epochs, shuffle=False, verbose=2)
    _, accuracy = model.evaluate(held_out, verbose=0)
    print(f"accuracy {accuracy:.1%} on {data.evaluation.num_examples} held-out images")
    if save:
        model.save(save)
        print(f"saved    {save}, which needs neither {export} nor the images")
    return accuracy


def main(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--export", required=True, help="folder that simclr export wrote")
    parser.add_argument("--images", help="folder with one sub-folder per class [digits]")
    parser.add_argument("--epochs", type=int, default=5, help="[5]")
    parser.add_argument("--learning_rate", type=float, default=0.01, help="[0.01]")
    parser.add_argument("--frozen", action="store_true", help="do not train the encoder")
    parser.add_argument("--save", help="file to write, .keras")
    flags = parser.parse_args(argv[1:])
    if flags.save and not flags.save.endswith(".keras"):
        parser.error(f"--save={flags.save}: give a name that ends in .keras")
    start_tensorflow_quietly()
    fine_tune(**vars(flags))


if __name__ == "__main__":
    command_line.leave(command_line.run(main, sys.argv, "finetune_hub_layer"))

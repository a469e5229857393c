"""Fine-tune an export in tf_keras (Keras 2): hub.KerasLayer, one Dense layer on top of it, and fit.

    pip install tensorflow tf_keras tensorflow-hub
    python examples/finetune_tf_keras.py --export=exports/photos --images=photos

This script does not need simclr_keras. --export is a folder of simclr export, --images a folder with one sub-folder
per class; without --images it learns scikit-learn's handwritten digits. Pixels must be in [0, 1].
"""

import argparse
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def fine_tune(
    export: str,
    images: str | None = None,
    epochs: int = 5,
    learning_rate: float = 0.01,
    frozen: bool = False,
    save: str | None = None,
) -> float:
    """Return the accuracy of the fine-tuned model on held-out images."""
    import tensorflow_hub as hub
    import tf_keras

    with open(os.path.join(export, "card.json"), encoding="utf-8") as file:
        card = json.load(file)
    size = card["image_size"]
    train, held_out, classes = labeled_images(images, size)

    # trainable: weights, batch normalization statistics and weight decay take part, as in pretraining.
    encoder = hub.KerasLayer(export, output_key="final_avg_pool", trainable=not frozen)
    model = tf_keras.Sequential([tf_keras.Input((size, size, 3)), encoder, tf_keras.layers.Dense(classes)])
    model.compile(
        tf_keras.optimizers.SGD(learning_rate, momentum=0.9),
        tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    kind = "frozen" if frozen else f"{len(encoder.trainable_weights)} trainable weights"
    print(f"{card['model']}: {kind}; {classes} classes, images of {size} pixels")
    model.fit(train, epochs=epochs, verbose=2)
    _, accuracy = model.evaluate(held_out, verbose=0)
    print(f"accuracy {accuracy:.1%} on held-out images")
    if save:
        model.save(save)
        print(f"saved    {save}; it needs {export} in the same place")
    return accuracy


def labeled_images(folder, size):
    """Return training batches, held-out batches (a fifth) and the number of classes; pixels are in [0, 1]."""
    import tensorflow as tf
    import tf_keras

    if folder:
        parts = tf_keras.utils.image_dataset_from_directory(
            folder,
            image_size=(size, size),
            interpolation="bicubic",
            crop_to_aspect_ratio=True,
            validation_split=0.2,
            subset="both",
            seed=0,
        )
        classes = len(parts[0].class_names)
    else:
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = tf.image.resize(digits.images[..., None].repeat(3, axis=-1) * (255 / 16), (size, size))
        all_images = tf.data.Dataset.from_tensor_slices((pixels, digits.target))
        all_images = all_images.shuffle(len(pixels), seed=0, reshuffle_each_iteration=False)
        fifth = len(pixels) // 5
        parts = all_images.skip(fifth).shuffle(2000).batch(32), all_images.take(fifth).batch(32)
        classes = len(digits.target_names)
    train, held_out = (part.map(lambda x, y: (tf.clip_by_value(x / 255, 0, 1), y)) for part in parts)
    return train, held_out, classes


def main(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--export", required=True, help="folder that simclr export wrote")
    parser.add_argument("--images", help="folder with one sub-folder per class [digits]")
    parser.add_argument("--epochs", type=int, default=5, help="[5]")
    parser.add_argument("--learning_rate", type=float, default=0.01, help="[0.01]")
    parser.add_argument("--frozen", action="store_true", help="do not train the encoder")
    parser.add_argument("--save", help="folder or file to write")
    flags = parser.parse_args(argv[1:])
    for name in ("saved_model.pb", "card.json"):
        if not os.path.exists(os.path.join(flags.export, name)):
            parser.error(
                f"--export={flags.export} contains no {name}; give a folder that simclr export wrote"
            )
    if flags.images and not (
        os.path.isdir(flags.images) and any(e.is_dir() for e in os.scandir(flags.images))
    ):
        parser.error(f"--images={flags.images}: give a folder with one sub-folder per class")
    fine_tune(**vars(flags))


if __name__ == "__main__":
    main(sys.argv)

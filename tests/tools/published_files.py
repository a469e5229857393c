"""Small published weights for the commands that take them, and a small ImageNet."""

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from simclr_keras.models.zoo import create_model
from tests.interop.release_files import weights_of, write_checkpoint

MODEL = "r18_0.125x_sk0"


def write_published(
    folder, category, *, model=MODEL, classes=10, head_layer=0, size=8, step=7, centered_on=None
):
    """Writes a TF1 checkpoint into folder/category/model; returns the path of that folder.

    Args:
        centered_on: images whose mean logits become 0, so that they are not all of one class.
    """
    keras.utils.set_random_seed(0)
    network = create_model(model, num_classes=classes, image_size=size, head_layer=head_layer)
    random = np.random.default_rng(5)
    for variable in network.variables:
        if "gamma" in variable.path or "variance" in variable.path:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    for variable in network.classifier.variables if classes else ():
        variable.assign(random.normal(size=variable.shape))
    if centered_on is not None:
        network.classifier.bias.assign_sub(tf.reduce_mean(network(centered_on)["logits"], 0))
    path = folder / category / model
    write_checkpoint(path / f"model.ckpt-{step}", {**weights_of(network), "global_step": np.int64(step)})
    return path


def write_release(folder, category, **arguments):
    """Writes the same into folder/category/model/saved_model, as the release's bucket has it; returns CATEGORY/MODEL.

    Args:
        folder, category, arguments: as in `write_published`.
    """
    path = write_published(folder, category, **arguments)
    variables = path / "saved_model" / "variables"
    variables.mkdir(parents=True)
    (path / "saved_model" / "saved_model.pb").write_bytes(b"")  # of a TF1 hub module, which needs no names
    for file in path.glob("model.ckpt-*"):
        file.rename(variables / f"variables{file.suffix}")
    return f"{category}/{path.name}"


class SmallImagenet(tfds.core.GeneratorBasedBuilder):
    """ImageNet with 24 images of noise in each of its two splits."""

    name = "imagenet2012"
    VERSION = tfds.core.Version("5.1.0")
    MODULE_LEVEL_REGISTER = False
    IMAGES = 24

    def _info(self):
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(num_classes=1000),
            "file_name": tfds.features.Text(),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in ("train", "validation")}

    def _generate_examples(self, split):
        random = np.random.default_rng(len(split))
        for number in range(self.IMAGES):
            image = random.integers(0, 256, (40, 48, 3), np.uint8)
            name = f"{split}{number}.JPEG"
            yield name, {"image": image, "label": 40 * number, "file_name": name}

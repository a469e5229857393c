"""The published SimCLRv2 weights as our models: TF1 checkpoints, TF2 training checkpoints and TF2 SavedModels."""

import dataclasses
import math

from simclr_keras.errors import InputError
from simclr_keras.interop.categories import Category, category_of, model_in, read_name
from simclr_keras.interop.network import Network, find_network
from simclr_keras.interop.source import Source
from simclr_keras.models.zoo import create_model


def load_published(path, name=None, *, ema=False, head_layer=None):
    """Returns a network of the release, such as simclrv2/finetuned_1pct/r50_1x_sk0, as a float32 SimCLRModel.

    Which network it is follows from the shapes in the file; every variable is accounted for. What training has left
    there (momentum, queue, step) is passed over. Basic blocks (r18, r34) with the stem for small images have the same
    variables with ResNet-D's shortcuts (sk1) and without: there the name of the model decides, else it is sk0.

    Where the classifier sits shows in its input; where several layers are as wide, in the words of the release in the
    path or the name (pretrained, finetuned_1pct, finetuned_10pct, finetuned_100pct, supervised, distill_1pct,
    distill_10pct) or in the step that ends the name of a TF1 checkpoint. Where those two disagree, `name` decides.

    Args:
        path: prefix of a TF1 or TF2 checkpoint, a folder with one, or a TF2 SavedModel; local or any that tf.io.gfile
            knows.
        name: what it must be: a model, such as "r50_1x_sk0", one of the words above, or both, such as
            "finetuned_1pct/r50_1x_sk0".
        ema: of a TF1 checkpoint: whether to take the moving average of the network, where it was pretrained with one.
            If there is no average of the classifier, the model has none.
        head_layer: layer of the projection head that the classifier sits on, where it cannot be told otherwise.

    Raises:
        InputError: one line: there is no such file, it is damaged, or of another network (names the keys that differ).
    """
    return open_published(path, name, ema=ema, head_layer=head_layer).load()


@dataclasses.dataclass(frozen=True)
class Published:
    """Weights of the release that have been looked through, and fit.

    Attributes:
        source: Source. network: Network. category: Category or None. ema: whether it is the moving average.
    """

    source: Source
    network: Network
    category: Category | None
    ema: bool = False

    @property
    def architecture(self):
        """Arguments of `create_model`."""
        return self.network.architecture

    @property
    def encoder_parameters(self):
        """How many the encoder has, moving statistics included."""
        held = (key for path, key in self.network.keys.items() if path.startswith("encoder/"))
        return sum(math.prod(self.source.shapes[key]) for key in held)

    def load(self):
        """Returns the SimCLRModel, in float32.

        Raises:
            InputError: an array cannot be read, or is of another shape than the model's.
        """
        model = create_model(**self.architecture)
        keys = {variable.path: self._key_of(variable) for variable in model.variables}
        for variable in model.variables:
            variable.assign(self.source.read(keys[variable.path]).reshape(variable.shape))
        return model

    def _key_of(self, variable):
        """The key of a variable of the model, which is of its shape."""
        path, shape = variable.path.partition("/")[2], tuple(variable.shape)
        key = self.network.keys.get(path)
        if key is None:
            raise InputError(f"{self.source.path} has nothing for {path}; give weights of the release.")
        # Squeeze-excitation's 1x1 convolutions are dense layers here.
        if self.source.shapes[key] not in (shape, (1, 1, *shape)):
            held = list(self.source.shapes[key])
            raise InputError(
                f"{key} in {self.source.path} is {held}, and {path} {list(shape)}; give weights of the release."
            )
        return key


def open_published(path, name=None, *, ema=False, head_layer=None):
    """Returns the Published at a path, before any array is read. Arguments and errors as of `load_published`."""
    category, model = read_name(name)
    source = Source(path)
    category = category or category_of(source.prefix, head_layer)
    network = find_network(
        source.form,
        source.shapes,
        source.path,
        name=model,
        ema=ema,
        head_layer=head_layer,
        category=category,
        likely=model_in(source.path),
    )
    return Published(source, network, category, ema)

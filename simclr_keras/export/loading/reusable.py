"""A reusable SavedModel as a function: loaded, checked, and run in inference or in training mode."""

import inspect

import keras
import tensorflow as tf

from simclr_keras.errors import InputError, one_line
from simclr_keras.export.endpoints import SERVING
from simclr_keras.export.loading.locate import RIGHT

MODES = (
    "training",
    "trainable",
)  # what reusable SavedModels, and those of the SimCLR release, call the argument


def load(folder, what="path", handle=None, values=True):
    """Returns the object in the folder of a SavedModel.

    Args:
        folder: as `find` returns it.
        what, handle: argument and value for messages.
        values: False leaves the variables without their values.

    Raises:
        InputError: it is damaged.
    """
    try:
        options = tf.saved_model.LoadOptions(experimental_skip_checkpoint=not values)
        return tf.saved_model.load(folder, options=options)
    except Exception as error:  # of many kinds, by what is damaged
        raise InputError(
            f"{what}={handle or folder} is a SavedModel that cannot be loaded ({one_line(error)}); {RIGHT}."
        ) from error


class Reusable:
    """The `__call__` of a loaded SavedModel: inputs -> tensor or dict of tensors.

    Args:
        module: loaded object.
        source: argument and value it comes from, for messages.

    Attributes:
        inputs: a TensorSpec, or a structure of them, that it takes.
        variables: list of tf.Variable. weights: those of them that are trained.
        losses: functions without arguments, of a scalar each.
        trains: whether it has weights, and a training mode.

    Raises:
        InputError: it is not a reusable SavedModel.
    """

    def __init__(self, module, source):
        self._source = source
        self._function = getattr(module, "__call__", None)  # noqa: B004  that of the instance, not of its class
        traces = getattr(self._function, "concrete_functions", [])
        if not traces:
            raise InputError(
                f"{source} is a SavedModel without __call__(images, training), such as TF1 and model.export write; "
                f"{RIGHT}."
            )
        self._accepted = [_first_argument(trace, source) for trace in traces]
        self.inputs = self._accepted[0]
        parameters = inspect.signature(self._function).parameters
        self._mode = next((name for name in MODES if name in parameters), None)
        self.weights = list(getattr(module, "trainable_variables", []))
        known = {id(variable) for variable in self.weights}
        others = [v for v in getattr(module, "variables", []) if id(v) not in known]
        self.variables = [*self.weights, *others]
        self.losses = list(getattr(module, "regularization_losses", []))
        self._has_training = self._traced(True)
        self.trains = bool(self.weights) and self._has_training
        self._signatures = dict(getattr(module, "signatures", {}))

    def __call__(self, inputs, training=False):
        return self._function(inputs, **self._arguments(training))

    def outputs(self, inputs=None):
        """What it puts out for inputs of such a spec (None: any): a structure of what has a shape and a dtype."""
        specs = self.inputs if inputs is None else inputs
        return self._function.get_concrete_function(specs, **self._arguments(False)).structured_outputs

    def endpoints(self):
        """dict of the names that its outputs go by to their keys; None where it puts out a bare tensor.

        A signature of one output is another name of that one: encoder is final_avg_pool.
        """
        outputs = self.outputs()
        if not isinstance(outputs, dict):
            return None
        names = {key: key for key in outputs}
        for name, signature in self._signatures.items():
            given = {spec.dtype for spec in signature.structured_input_signature[1].values()}
            of_images = given == {spec.dtype for spec in keras.tree.flatten(self.inputs)}
            keys = list(signature.structured_outputs)
            if of_images and len(keys) == 1 and keys[0] in outputs and name != SERVING:
                names.setdefault(name, keys[0])
        return names

    def check(self, inputs):
        """Raises InputError unless inputs, or specs of them, have a type and a shape that it takes."""
        given, wanted = keras.tree.flatten(inputs), keras.tree.flatten(self.inputs)
        if len(given) != len(wanted):
            raise InputError(
                f"{self._source} takes {len(wanted)} tensor, not a structure of {len(given)}: give one array."
            )
        for tensor, spec in zip(given, wanted):
            dtype = keras.backend.standardize_dtype(getattr(tensor, "dtype", None) or "float32")
            if spec.dtype.is_floating and "float" not in dtype:
                raise InputError(
                    f"images must be float, with pixels in [0, 1]: divide 8-bit ones by 255. Received: dtype={dtype}"
                )
        shapes = [tf.TensorShape(getattr(tensor, "shape", None)) for tensor in given]
        accepted = [[spec.shape for spec in keras.tree.flatten(specs)] for specs in self._accepted]
        if not any(_fit(shapes, one) for one in accepted):
            of, received = (", ".join(map(_text, group)) for group in (accepted[0], shapes))
            raise InputError(f"{self._source} takes inputs of shape {of}. Received: shape {received}")

    def _arguments(self, training):
        return {} if self._mode is None else {self._mode: bool(training) and self._has_training}

    def _traced(self, training):
        """Whether there is a graph for this mode; where there is only one graph, it is for both."""
        if self._mode is None:
            return True
        try:
            self._function.get_concrete_function(self.inputs, **{self._mode: training})
        except ValueError:
            return False
        return True


def _first_argument(trace, source):
    arguments, named = trace.structured_input_signature
    if arguments:
        return arguments[0]
    specs = [value for value in named.values() if isinstance(value, tf.TensorSpec)]
    if len(specs) != 1:
        raise InputError(f"{source} is a SavedModel whose __call__ takes no images; {RIGHT}.")
    return specs[0]


def _fit(shapes, accepted):
    return len(shapes) == len(accepted) and all(a.is_compatible_with(b) for a, b in zip(shapes, accepted))


def _text(shape):
    return "of any rank" if shape.rank is None else str(tuple(shape.as_list()))

"""From a run directory back to its weights: into a fresh model for whoever builds on it, or into a later stage's."""

import dataclasses
import warnings

import tensorflow as tf

from simclr_keras.config.modes import config_of_run
from simclr_keras.errors import InputError, one_line
from simclr_keras.runs import architecture as architectures
from simclr_keras.runs.checkpoints import newest_readable, path_of, steps_in
from simclr_keras.runs.run_dir import CONFIG, SPLIT, RunDir


@dataclasses.dataclass(frozen=True)
class OpenRun:
    """A run directory, seen from outside.

    Attributes:
        run_dir: RunDir. config: of its stage. held, split: what config.json and split.json hold.
        architecture: arguments of `create_model`.
        weights: Weights that count.

    Raises:
        InputError: it names more or fewer classes than its classifier has.
    """

    run_dir: RunDir
    config: object
    held: dict
    split: dict
    architecture: dict
    weights: "Weights"

    def __post_init__(self):
        names, classes = self.class_names, self.weights.num_classes
        if names and classes and len(names) != classes:
            name = SPLIT if self.split.get("class_names") else CONFIG
            raise self.run_dir.damaged(
                name, f"it names {len(names)} classes, the checkpoint has {classes} of them"
            )

    @property
    def class_names(self):
        """Names of the classes in the order of the logits; None where they are not known."""
        names = self.split.get("class_names") or self.held.get("class_names")
        return None if names is None else tuple(names)

    @property
    def image_size(self):
        """Side of the images it was trained on, in pixels."""
        return self.config.image_size or self.architecture["image_size"]

    def model(self, dtype="float32"):
        """Returns the network, a SimCLRModel. dtype: as in `create_model`."""
        model = architectures.build(self.architecture, dtype)
        self.weights.load_into(model)
        return model


def open_run(path, checkpoint="last", flag="model_dir"):
    """Looks into a run directory, of a run that need not be finished.

    Args:
        path: run directory. checkpoint: "last" or "best". flag: that gave it, for messages.

    Raises:
        InputError: there is no run, its settings are damaged, or it has no checkpoint that can be read.
    """
    run_dir = RunDir(path, flag)
    run_dir.check_path()
    held, split = (run_dir.read_json(name) for name in (CONFIG, SPLIT))
    if held is None or split is None:
        raise InputError(f"{path} is not a run directory; give the --model_dir of a training run.")
    config = config_of_run(held, run_dir.file(CONFIG))
    check_has_network(run_dir, config)
    weights = Weights(run_dir, checkpoint)
    return OpenRun(run_dir, config, held, split, architecture_of(run_dir, config, weights), weights)


def architecture_of(run_dir, config, weights):
    """The arguments of `create_model` for a run's network, also of a run from before there was a model.json."""
    architecture = architectures.read(run_dir)
    return architectures.of_pretraining(config, weights.num_classes) if architecture is None else architecture


def check_has_network(run_dir, config):
    """Raises InputError where a run is of a stage that only judges another run's network."""
    measured = config.NAME in ("knn", "eval") or getattr(config, "protocol", None) == "fast"
    if measured and not steps_in(run_dir.checkpoints):
        raise InputError(
            f"--{run_dir.flag}={run_dir.path} is a run of --mode={config.NAME}, with no network of its own; give the "
            f"one that it judged, --{run_dir.flag}={config.init}."
        )


def load_run(path, checkpoint="last", dtype="float32"):
    """Returns the model of a run, with the weights of its newest checkpoint that can be read, as a SimCLRModel.

    The classifier of a pretraining run, where it had labels, is the online probe. The run need not be finished, and may
    have trained in any precision and on any number of replicas.

    >>> from simclr_keras import load_run
    >>> model = load_run("runs/digits")
    >>> model.classifier.num_classes
    10

    Args:
        path: run directory, local or any that tf.io.gfile knows.
        checkpoint: "last", or "best" for the weights that did best on the run's evaluation split.
        dtype: as in `create_model`.

    Raises:
        InputError: there is no run, its settings are damaged, or it has no checkpoint that can be read.
    """
    return open_run(path, checkpoint).model(dtype)


ATTEMPTS = 3  # to read a checkpoint of a run that goes on and keeps only the newest


class Weights:
    """The model's weights in a checkpoint of a run, by the path of each variable within the model.

    Args:
        run_dir: RunDir.
        checkpoint: "last" or "best".

    Raises:
        InputError: there is no checkpoint that can be read.
    """

    def __init__(self, run_dir, checkpoint="last"):
        self._run_dir, self._checkpoint = run_dir, checkpoint
        self._look()

    def _look(self):
        run_dir, checkpoint = self._run_dir, self._checkpoint
        directory = run_dir.best if checkpoint == "best" else run_dir.checkpoints
        step, damage = newest_readable(directory, f"give another --{run_dir.flag}")
        if step is None and checkpoint == "best":
            raise InputError(
                f"{run_dir.path} has no best checkpoint: it keeps one where a classifier is evaluated; give last."
            )
        if step is None:
            raise InputError(f"{run_dir.path} has no checkpoint yet: let the run finish an epoch.")
        for bad, why in damage.items():
            warnings.warn(
                f"the checkpoint of step {bad} is damaged ({why}): taking that of step {step}", stacklevel=4
            )
        self.step = step
        self._path = path_of(directory, step)
        self._reader = tf.compat.v1.train.NewCheckpointReader(self._path)
        self._shapes = self._reader.get_variable_to_shape_map()
        self._stored = {_name(key): key for key in self._shapes if key.startswith("state/model")}

    @property
    def num_classes(self):
        """Classes of the classifier; None where there is none."""
        bias = self._stored.get("classifier/bias")
        return self._shapes[bias][0] if bias else None

    def load_into(self, model, parts=None):
        """Assigns the weights to a model; newer ones where a run that goes on has removed these meanwhile.

        Args:
            model: a built SimCLRModel.
            parts: first words of the paths to load ("encoder", ...), of which the checkpoint may hold more than the
                model wants; None for all, where both must hold the same.

        Raises:
            InputError: names or shapes are not those of the model, or the checkpoint cannot be read.
        """
        failure = None
        for _ in range(ATTEMPTS):
            if failure:
                self._look()
            try:
                return self._load_into(model, parts)
            except tf.errors.OpError as error:
                failure = error
        raise InputError(
            f"the checkpoint {self._path} cannot be read ({one_line(failure)}); try again."
        ) from failure

    def _load_into(self, model, parts):
        variables = {variable.path.partition("/")[2]: variable for variable in model.variables}
        if parts is not None:
            variables = {name: v for name, v in variables.items() if name.split("/")[0] in parts}
        wanted = {name: list(variable.shape) for name, variable in variables.items()}
        found = {name: self._shapes[key] for name, key in self._stored.items()}
        if parts is not None:
            found = {name: shape for name, shape in found.items() if name in wanted}
        if wanted != found:
            differing = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
            raise InputError(
                f"the checkpoint {self._path} is not of the model of this run. Differing: {', '.join(differing[:3])}"
            )
        for name, variable in variables.items():
            variable.assign(self._reader.get_tensor(self._stored[name]))


def _name(key):
    """The variable's path within the model, from its key in a checkpoint, where "/" is written ".S"."""
    return key.partition("/")[2].partition("/.ATTRIBUTES")[0].replace(".S", "/").removeprefix("model/")

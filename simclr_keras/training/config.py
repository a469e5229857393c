"""One frozen dataclass per stage over a common base; its field metadata makes the flags, the refusals and the
reference page. Imports neither TensorFlow nor Keras, so that --help answers at once."""

import dataclasses
import difflib
import math
import typing

from simclr_keras.errors import InputError


def option(
    default,
    help,
    *,
    group,
    choices=None,
    unit=None,
    at_least=None,
    above=None,
    at_most=None,
    below=None,
    resume="fixed",
):
    """A dataclass field that carries everything a flag, a check and a line of documentation need.

    Args:
        default: value when neither recipe nor flag gives one.
        help: one sentence.
        group: heading in --help.
        choices: the allowed values.
        unit: what the number counts.
        at_least, above, at_most, below: inclusive and exclusive bounds of a number.
        resume: "fixed" (a run directory keeps it for life), "free" (may change on resume) or "up"
            (may only grow).
    """
    metadata = {
        "help": help,
        "group": group,
        "choices": tuple(choices) if choices else None,
        "unit": unit,
        "at_least": at_least,
        "above": above,
        "at_most": at_most,
        "below": below,
        "resume": resume,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """What every stage needs: a run directory, data, a model, precision and randomness."""

    model_dir: str | None = option(
        None,
        "Run directory, local or gs://; the same command continues the run found there. "
        "Default: runs/MODE-DATASET-MODEL.",
        group="Run",
        resume="free",
    )
    seed: int = option(
        0,
        "Seed of every random draw: weights, order, views, splits.",
        group="Run",
        at_least=0,
        at_most=2**31 - 1,
    )
    precision: str = option(
        "auto",
        "Arithmetic of the encoder; heads, losses and statistics stay float32. auto: bfloat16 where the "
        "hardware has it.",
        group="Run",
        choices=("auto", "float32", "bfloat16", "float64"),
    )
    strategy: str = option(
        "auto",
        "Devices: auto takes a TPU if one is attached, else all GPUs, else the CPU.",
        group="Run",
        choices=("auto", "one", "mirrored", "tpu"),
        resume="free",
    )
    tpu: str | None = option(None, "TPU name or address; 'local' on a TPU VM.", group="Run", resume="free")
    deterministic: bool = option(
        False, "Ask TensorFlow for bitwise repeatable kernels (slower on GPUs).", group="Run", resume="free"
    )
    steps_per_call: int = option(
        0,
        "Training steps per call into the graph; 0 chooses: 1 on CPU, 20 on accelerators.",
        group="Run",
        unit="steps",
        at_least=0,
        resume="free",
    )
    checkpoint_steps: int = option(
        0,
        "Also save a checkpoint every so many steps (they are always saved at epoch ends); 0: epoch ends only.",
        group="Run",
        unit="steps",
        at_least=0,
        resume="free",
    )
    keep_checkpoints: int = option(
        3, "Newest checkpoints kept.", group="Run", at_least=1, at_most=1000, resume="free"
    )

    dataset: str | None = option(
        None,
        "digits (embedded), folder:PATH, npz:PATH or a TensorFlow Datasets name (cifar10, "
        "imagenet2012_subset/1pct, ...).",
        group="Data",
    )
    data_dir: str | None = option(
        None, "Where TensorFlow Datasets keeps prepared data.", group="Data", resume="free"
    )
    labels: str | None = option(None, "CSV of filename,label for a flat folder:PATH.", group="Data")
    eval_fraction: float | None = option(
        None,
        "Share of the training images held out for evaluation where the data has no evaluation split "
        "(stratified, seeded; default 0.1).",
        group="Data",
        above=0,
        below=1,
    )
    label_fraction: float | None = option(
        None,
        "Share of the training labels that may be seen (stratified, seeded).",
        group="Data",
        above=0,
        at_most=1,
    )
    labels_per_class: int | None = option(
        None, "Training labels per class that may be seen (seeded).", group="Data", at_least=1
    )

    model: str = option(
        "r50_1x_sk0",
        "Encoder r{depth}_{width}x_sk{0,1}: depth 18 34 50 101 152 200, any width above 0.",
        group="Model",
    )
    image_size: int = option(
        224,
        "Side of the square images the network sees; 32 or less uses the small-image stem.",
        group="Model",
        unit="pixels",
        at_least=8,
        at_most=4096,
    )
    se_ratio: float = option(
        0.0, "Squeeze-and-excitation ratio; 0: none.", group="Model", at_least=0, at_most=1
    )
    proj_mode: str = option(
        "nonlinear", "Kind of projection head.", group="Model", choices=("nonlinear", "linear", "none")
    )
    proj_layers: int = option(3, "Layers of the projection head.", group="Model", at_least=1, at_most=16)
    proj_dim: int = option(128, "Output width of the projection head.", group="Model", at_least=1)
    proj_hidden_dim: int | None = option(
        None,
        "Width of its hidden layers; default: the encoder's output width, as published.",
        group="Model",
        at_least=1,
    )

    def validate(self):
        """Checks every field against its own metadata and the fields against each other.

        Raises:
            InputError: one line naming the flag, what was wrong and what would be right.
        """
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))
        if self.label_fraction is not None and self.labels_per_class is not None:
            raise InputError("--label_fraction and --labels_per_class say the same thing: give one of them.")
        if self.dataset is None:
            raise InputError(
                "--dataset is missing: give digits, folder:PATH, npz:PATH or a TensorFlow Datasets name "
                "such as cifar10."
            )


@dataclasses.dataclass(frozen=True)
class PretrainConfig(StageConfig):
    """Contrastive pretraining (SimCLRv2, section 2 and appendix). Defaults: the paper's ImageNet recipe."""

    batch_size: int = option(
        4096,
        "Images per step over all replicas (each gives two views).",
        group="Training",
        unit="images",
        at_least=2,
    )
    epochs: int = option(
        800, "Passes over the training images.", group="Training", unit="epochs", at_least=1, resume="up"
    )
    optimizer: str = option(
        "lars",
        "lars; momentum (SGD, Nesterov); adamw.",
        group="Training",
        choices=("lars", "momentum", "adamw"),
    )
    learning_rate: float = option(
        0.1, "Base learning rate, scaled by --learning_rate_scaling.", group="Training", above=0
    )
    learning_rate_scaling: str = option(
        "sqrt",
        "Peak rate: linear = base * batch/256, sqrt = base * sqrt(batch), none = base.",
        group="Training",
        choices=("linear", "sqrt", "none"),
    )
    warmup_epochs: float = option(
        40.0, "Linear warm-up, followed by a cosine to zero.", group="Training", unit="epochs", at_least=0
    )
    momentum: float = option(0.9, "Momentum of lars and momentum.", group="Training", at_least=0, below=1)
    weight_decay: float = option(1e-4, "Weight decay (decoupled under adamw).", group="Training", at_least=0)
    temperature: float = option(0.1, "Temperature of NT-Xent.", group="Training", above=0)

    crop_min_area: float = option(
        0.08, "Smallest share of the image a crop may cover.", group="Views", above=0, at_most=1
    )
    flip_probability: float = option(
        0.5, "Probability of a left-right flip.", group="Views", at_least=0, at_most=1
    )
    color_strength: float = option(
        1.0, "Strength s of the colour jitter; 0 leaves colours and grey alone.", group="Views", at_least=0
    )
    jitter_probability: float = option(
        0.8, "Probability of the colour jitter.", group="Views", at_least=0, at_most=1
    )
    brightness: float = option(0.8, "Brightness range per unit of strength.", group="Views", at_least=0)
    contrast: float = option(0.8, "Contrast range per unit of strength.", group="Views", at_least=0)
    saturation: float = option(0.8, "Saturation range per unit of strength.", group="Views", at_least=0)
    hue: float = option(0.2, "Hue range per unit of strength.", group="Views", unit="turns", at_least=0)
    brightness_mode: str = option(
        "multiply", "multiply (v2) or add (v1).", group="Views", choices=("multiply", "add")
    )
    grayscale_probability: float = option(
        0.2, "Probability of turning grey.", group="Views", at_least=0, at_most=1
    )
    blur_probability: float = option(
        0.5, "Probability of a Gaussian blur; 0: none.", group="Views", at_least=0, at_most=1
    )
    blur_sigma_min: float = option(0.1, "Smallest blur sigma.", group="Views", unit="pixels", above=0)
    blur_sigma_max: float = option(2.0, "Largest blur sigma.", group="Views", unit="pixels", above=0)

    probe_layer: int = option(
        0,
        "Projection head layer under the online linear probe (0: the encoder's output).",
        group="Evaluation",
        at_least=0,
    )
    probe_learning_rate: float = option(
        0.1,
        "Base learning rate of the online probe (times batch/256; momentum).",
        group="Evaluation",
        above=0,
    )
    eval_every: int = option(
        0,
        "Evaluate kNN and probe every so many epochs, and always at the end; 0: ten times in a run.",
        group="Evaluation",
        unit="epochs",
        at_least=0,
        resume="free",
    )
    eval_batch_size: int = option(
        0,
        "Images per evaluation step; 0: as in training.",
        group="Evaluation",
        unit="images",
        at_least=0,
        resume="free",
    )
    knn_k: int = option(
        200,
        "Neighbours of the weighted kNN (capped by the bank).",
        group="Evaluation",
        at_least=1,
        resume="free",
    )
    knn_temperature: float = option(
        0.1, "Temperature of the kNN weights.", group="Evaluation", above=0, resume="free"
    )
    knn_bank: int = option(
        100_000,
        "Most labelled training images kept as kNN bank (a seeded choice beyond that).",
        group="Evaluation",
        unit="images",
        at_least=1,
        resume="free",
    )
    baselines: bool = option(
        False,
        "Before training, also report kNN and logistic regression on raw pixels and on the untrained encoder, "
        "and at the end on the trained one.",
        group="Evaluation",
        resume="free",
    )

    def validate(self):
        super().validate()
        if self.blur_sigma_max < self.blur_sigma_min:
            raise InputError(
                f"--blur_sigma_max={self.blur_sigma_max} is below --blur_sigma_min={self.blur_sigma_min}: "
                "give a range that rises."
            )
        if self.warmup_epochs > self.epochs:
            raise InputError(
                f"--warmup_epochs={self.warmup_epochs:g} is longer than the run of --epochs={self.epochs}: "
                "give fewer warm-up epochs."
            )
        layers = {"nonlinear": self.proj_layers, "linear": 1, "none": 0}[self.proj_mode]
        if self.probe_layer > layers:
            raise InputError(
                f"--probe_layer={self.probe_layer} is beyond the projection head, which has layers 0 to {layers}."
            )


MODES = {"pretrain": PretrainConfig}


def config_class(mode):
    """Returns the dataclass of a stage. Raises InputError for an unknown mode."""
    if mode is None:
        raise InputError(f"--mode is missing: give one of {', '.join(MODES)}.")
    if mode not in MODES:
        raise InputError(f"unknown --mode={mode}: {nearest(mode, MODES)}")
    return MODES[mode]


def make_config(mode, recipe_values, flag_values):
    """Builds and checks a stage's config: defaults, then the recipe, then what the user said.

    Args:
        mode: name of the stage.
        recipe_values: dict of field values from a recipe.
        flag_values: dict of the values given on the command line.
    """
    cls = config_class(mode)
    known = {field.name for field in dataclasses.fields(cls)}
    for name in {**recipe_values, **flag_values}:
        if name not in known:
            raise InputError(f"--{name} does not belong to --mode={mode}: {nearest(name, known)}")
    config = cls(**{**recipe_values, **flag_values})
    config.validate()
    return config


def field_type(field):
    """Returns (type, optional): the plain type of a field and whether it may be None."""
    arguments = [a for a in typing.get_args(field.type) if a is not type(None)]
    return (arguments[0], True) if arguments else (field.type, False)


def differences(old, new):
    """Lists what keeps a run directory made with `old` (a dict) from being continued with `new` (a config).

    Returns:
        list of (field name, old value, new value, rule) where rule is "fixed" or "up".
    """
    found = []
    for field in dataclasses.fields(new):
        rule = field.metadata["resume"]
        value = getattr(new, field.name)
        if rule == "free" or field.name not in old or old[field.name] == value:
            continue
        if rule == "up" and value > old[field.name]:
            continue
        found.append((field.name, old[field.name], value, rule))
    return found


def nearest(word, choices):
    """Says which of `choices` was probably meant, or lists them all."""
    close = difflib.get_close_matches(str(word), list(choices), n=1)
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(sorted(choices))}."


def _check(field, value):
    rules, flag = field.metadata, f"--{field.name}"
    kind, optional = field_type(field)
    if value is None:
        if not optional:
            raise InputError(f"{flag} must have a value.")
        return
    if rules["choices"] and value not in rules["choices"]:
        raise InputError(f"{flag}={value} is not known: {nearest(value, rules['choices'])}")
    if kind not in (int, float) or isinstance(value, bool):
        return
    bounds = (
        ("at_least", lambda a, b: a >= b, "at least"),
        ("above", lambda a, b: a > b, "above"),
        ("at_most", lambda a, b: a <= b, "at most"),
        ("below", lambda a, b: a < b, "below"),
    )
    wanted = [f"{words} {rules[key]}" for key, _, words in bounds if rules[key] is not None]
    held = all(test(value, rules[key]) for key, test, _ in bounds if rules[key] is not None)
    if not (held and math.isfinite(value)):
        raise InputError(f"{flag}={value} is out of range: it must be {' and '.join(wanted) or 'finite'}.")

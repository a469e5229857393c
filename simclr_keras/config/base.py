"""The settings of every stage: run directory, data, precision and randomness."""

import dataclasses
from typing import ClassVar, Literal

from simclr_keras.config.option import Settings, option
from simclr_keras.errors import InputError

NEAR_DUPLICATES = "near_duplicates"  # a value of --group_by


@dataclasses.dataclass(frozen=True)
class StageConfig(Settings):
    """The settings of every stage.

    Class attributes: NAME of the stage, as --mode takes it; MODULE whose `run(config)` runs the stage; RUN_FLAGS, the
    settings that name earlier runs; OF_INIT, the settings that are None until --init sets them, but never in a
    config.json, with the classes that have their defaults. The properties at the end are settings that only some stages
    have.
    """

    # Settings of which a flag drops the other one of a recipe or file.
    EXCLUSIVE: ClassVar[tuple[tuple[str, str], ...]] = (
        ("label_fraction", "labels_per_class"),
        ("unlabeled", "labels"),
    )
    NAME: ClassVar[str]
    MODULE: ClassVar[str]
    RUN_FLAGS: ClassVar[tuple[str, ...]] = ()
    OF_INIT: ClassVar[dict[str, type]] = {}

    model_dir: str | None = option(
        None,
        "Run directory, local or gs://. The same command continues a run in it.",
        group="Run",
        default_words="runs/MODE-DATASET-MODEL; of eval, knn and linear_eval runs/MODE-RUN, with -DATASET if it is not "
        "that of the run",
        resume="free",
    )
    seed: int = option(
        0,
        "Seed of all randomness: initial weights, order, views, choice of labels.",
        group="Run",
        at_least=0,
        at_most=2**31 - 1,
    )
    precision: str = option(
        "auto",
        "Precision of the encoder; heads, losses and statistics stay float32. auto: bfloat16 if the hardware supports "
        "it, float16 with a loss scale on GPUs of compute capability 7.x, else float32.",
        group="Run",
        choices=("auto", "float32", "bfloat16", "float16", "float64"),
    )
    strategy: str = option(
        "auto",
        "Devices: auto is a TPU, else the hosts that TF_CONFIG or Slurm names (multi_worker), else all GPUs, else one "
        "device.",
        group="Run",
        choices=("auto", "one", "mirrored", "multi_worker", "tpu"),
        resume="free",
    )
    tpu: str | None = option(None, "TPU name or address; 'local' on a TPU VM.", group="Run", resume="free")
    num_replicas: int = option(
        0,
        "Use so many GPUs of each machine; without GPUs, divide the CPU into so many logical devices. 0: all GPUs, or "
        "one CPU device.",
        group="Run",
        at_least=0,
        at_most=1024,
        resume="free",
    )
    host_timeout: float = option(
        300.0,
        "How long to wait for the other hosts of multi_worker at the start.",
        group="Run",
        unit="seconds",
        above=0,
        resume="free",
    )
    deterministic: bool = option(
        False, "Use only bitwise repeatable TensorFlow kernels; slower on GPUs.", group="Run"
    )
    steps_per_execution: int = option(
        0,
        "Training steps per call of the graph; 0: 1 on CPUs, 20 on accelerators.",
        group="Run",
        unit="steps",
        at_least=0,
        resume="free",
    )
    checkpoint_every_steps: int = option(
        0,
        "Also save a checkpoint after every so many steps; 0: only at ends of epochs.",
        group="Run",
        unit="steps",
        at_least=0,
        resume="free",
    )
    checkpoint_every_minutes: float = option(
        10.0,
        "Also save a checkpoint so many minutes after the previous one; 0: only at ends of epochs.",
        group="Run",
        unit="minutes",
        at_least=0,
        resume="free",
    )
    keep_checkpoints: int = option(
        3,
        "How many of the newest checkpoints are kept.",
        group="Run",
        at_least=1,
        at_most=1000,
        resume="free",
    )
    on_nan: str = option(
        "stop",
        "If the loss is NaN or infinite: stop at the last good checkpoint, or skip_batch: undo and count the batch.",
        group="Run",
        choices=("stop", "skip_batch"),
        resume="free",
    )

    dataset: str | None = option(
        None,
        "Dataset: digits (built in), folder:PATH, npz:PATH or a TensorFlow Datasets name, such as cifar10.",
        group="Data",
    )
    data_dir: str | None = option(
        None, "Folder in which TensorFlow Datasets keeps prepared data.", group="Data", resume="free"
    )
    labels: str | None = option(
        None,
        "CSV of filename,label and perhaps split for folder:PATH; its sub-folders are no classes.",
        group="Data",
    )
    unlabeled: bool = option(
        False,
        "The sub-folders of folder:PATH are no classes, but dates or the like: its images have no labels.",
        group="Data",
    )
    on_bad_image: str = option(
        "skip",
        "If image files are unreadable: skip and report them, or stop with an error.",
        group="Data",
        choices=("skip", "error"),
        resume="free",
    )
    eval_fraction: float | None = option(
        None,
        "Share of the images held out of all training, chosen by content; the labeled ones are the evaluation set. "
        "Unused if the data has an evaluation split.",
        default_words="0.1",
        group="Data",
        above=0,
        below=1,
    )
    group_by: str | None = option(
        None,
        "Hold out whole groups of images: near_duplicates, such as photos of one burst, or the name of a column of "
        "--labels, such as patient.",
        group="Data",
    )
    eval_antialias: bool | None = option(
        None,
        "Antialias when images shrink to --image_size for evaluation, as Pillow does. The release does not.",
        default_words="that of --init or --teacher, else false",
        group="Data",
    )
    label_fraction: float | None = option(
        None,
        "Share of the training labels that is used: the same share of every class, chosen by content and --label_seed.",
        group="Data",
        above=0,
        at_most=1,
    )
    label_seed: int | None = option(
        None,
        "Seed of the choice of labels that are used.",
        group="Data",
        at_least=0,
        at_most=2**64 - 1,
        default_words="--seed",
    )
    labels_per_class: int | None = option(
        None,
        "Training labels per class that are used, chosen by content and --label_seed.",
        group="Data",
        at_least=1,
    )

    def validate(self) -> None:
        """Check every field against its option, and the fields against each other.

        Raises:
            InputError: one line naming the flag, what is wrong and what to do.
        """
        super().validate()
        if self.label_fraction is not None and self.labels_per_class is not None:
            raise InputError("--label_fraction and --labels_per_class exclude each other: give one of them.")
        if self.strategy == "one" and self.num_replicas > 1:
            raise InputError(
                f"--strategy=one is a single device, and --num_replicas={self.num_replicas} asks for more; give "
                "--strategy=mirrored, or leave one of them out."
            )
        if self.unlabeled and self.labels is not None:
            raise InputError("--unlabeled and --labels exclude each other: give one of them.")
        # Stages with --init or --teacher inherit the dataset.
        if self.dataset is None and not any(getattr(self, flag) for flag in self.RUN_FLAGS):
            raise InputError(
                "--dataset is missing: give digits, folder:PATH, npz:PATH or a TensorFlow Datasets name "
                "such as cifar10."
            )

    # Settings that only some stages have: a field of the same name replaces the property.

    @property
    def trains(self) -> bool:
        """Return whether the stage trains a network, which is then in its run directory."""
        return True

    @property
    def epochs(self) -> int | None:
        """Return the passes over the training images, or None if the stage has none."""
        return None

    @property
    def head_layer(self) -> int | Literal["auto"] | None:
        """Return the layer of the projection head, or None if the stage does not choose one."""
        return None

    @property
    def probe_learning_rate(self) -> float | None:
        """Return the base learning rate of the online probe, or None if there is no probe."""
        return None

    @property
    def use_ema(self) -> bool:
        """Return whether the stage starts from the momentum network of an earlier run."""
        return False

    @property
    def class_weights(self) -> str:
        """Return how the losses of the classes are weighted."""
        return "none"

    @property
    def remat(self) -> bool:
        """Return whether training stores only the inputs of residual blocks."""
        return False

    @property
    def microbatch_size(self) -> int:
        """Return the number of images of a micro-batch; 0 if batches are not divided."""
        return 0

    @property
    def global_bn(self) -> bool:
        """Return whether batch normalization takes its statistics over all replicas in training."""
        return True

    @property
    def freeze_batch_norm(self) -> bool:
        """Return whether batch normalization that starts from trained weights is frozen."""
        return False

    @property
    def depends_on_replicas(self) -> bool:
        """Return whether the results depend on the number of replicas."""
        return not self.global_bn

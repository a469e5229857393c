"""What every stage needs said: a run directory, data, precision and randomness."""

import dataclasses
from typing import ClassVar

from simclr_keras.config.option import Settings, option
from simclr_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class StageConfig(Settings):
    """What every stage needs: a run directory, data, precision and randomness.

    Class attributes: NAME of the stage, as --mode takes it; MODULE whose `run(config)` is the stage; RUN_FLAGS, the
    settings that name earlier runs. The properties at the end are settings that only some stages have.
    """

    NAME: ClassVar[str]
    MODULE: ClassVar[str]
    RUN_FLAGS: ClassVar[tuple[str, ...]] = ()

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
        "Devices: auto takes the TPU that --tpu names, else all GPUs, else the CPU.",
        group="Run",
        choices=("auto", "one", "mirrored", "tpu"),
        resume="free",
    )
    tpu: str | None = option(None, "TPU name or address; 'local' on a TPU VM.", group="Run", resume="free")
    deterministic: bool = option(
        False, "Ask TensorFlow for bitwise repeatable kernels (slower on GPUs).", group="Run"
    )
    steps_per_execution: int = option(
        0,
        "Training steps per call into the graph; 0 chooses: 1 on CPU, 20 on accelerators.",
        group="Run",
        unit="steps",
        at_least=0,
        resume="free",
    )
    checkpoint_every_steps: int = option(
        0,
        "Also save a checkpoint every so many steps (they are always saved at epoch ends); 0: epoch ends only.",
        group="Run",
        unit="steps",
        at_least=0,
        resume="free",
    )
    checkpoint_every_minutes: float = option(
        10.0,
        "Also save a checkpoint when so many minutes have passed since the last; 0: never for that reason.",
        group="Run",
        unit="minutes",
        at_least=0,
        resume="free",
    )
    keep_checkpoints: int = option(
        3, "Newest checkpoints kept.", group="Run", at_least=1, at_most=1000, resume="free"
    )
    on_nan: str = option(
        "stop",
        "When the loss is NaN or infinite: stop at the last good checkpoint, or skip_batch, which leaves such a batch "
        "without effect and counts it.",
        group="Run",
        choices=("stop", "skip_batch"),
        resume="free",
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
    on_bad_image: str = option(
        "skip",
        "Image files that cannot be read: skip leaves them out, counted and named; error refuses them.",
        group="Data",
        choices=("skip", "error"),
        resume="free",
    )
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

    def validate(self) -> None:
        """Check every field against its option, and the fields against each other.

        Raises:
            InputError: one line naming the flag, what is wrong and what to do.
        """
        super().validate()
        if self.label_fraction is not None and self.labels_per_class is not None:
            raise InputError("--label_fraction and --labels_per_class say the same thing: give one of them.")
        # A stage after another run inherits it; there --init or --teacher may be what is missing.
        if self.dataset is None and not self.RUN_FLAGS:
            raise InputError(
                "--dataset is missing: give digits, folder:PATH, npz:PATH or a TensorFlow Datasets name "
                "such as cifar10."
            )

    @property
    def inherits_from(self):
        """Path of the run that gives what this config leaves open, such as the dataset; None where there is none."""
        return None

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
    def head_layer(self):
        """Return the layer of the projection head, or None if the stage does not choose one."""
        return None

    @property
    def probe_learning_rate(self) -> float | None:
        """Return the base learning rate of the online probe, or None if there is no probe."""
        return None

"""The settings of simclr export."""

import dataclasses
import os

from simclr_keras.config.option import Settings, nearest, option
from simclr_keras.config.output_paths import check_no_pattern
from simclr_keras.errors import InputError

SAVED_MODEL, KERAS, LITERT, ONNX = FORMATS = ("saved_model", "keras", "litert", "onnx")


@dataclasses.dataclass(frozen=True)
class ExportConfig(Settings):
    """The flags of simclr export."""

    run: str = option(
        "",
        "Run directory of the network, or an address such as published:r50_1x_sk0.",
        group="What",
        required="give the --model_dir of a training run",
    )
    checkpoint: str = option(
        "last",
        "Checkpoint: the last one, or the best one on the evaluation split.",
        group="What",
        choices=("last", "best"),
    )
    ema: bool = option(
        False, "Export the momentum network of a pretraining run with --memory=queue.", group="What"
    )
    endpoints: str | None = option(
        None,
        "Endpoints to export, separated by commas: encoder, proj_head_0 .., logits and probabilities. Layers that "
        "none of them needs are left out.",
        group="What",
        default_words="all",
    )
    out: str = option("", "Folder to write.", group="Where and how", required="give a folder to write")
    overwrite: bool = option(False, "Replace an existing export.", group="Where and how")
    format: str = option(
        "saved_model", f"Formats, separated by commas: {', '.join(FORMATS)}.", group="Where and how"
    )
    decode_images: bool = option(
        False,
        "Add signatures NAME_from_bytes to the SavedModel. They take encoded JPEG and PNG files and include the "
        "evaluation preprocessing.",
        group="Where and how",
    )
    int8: bool = option(
        False, "Also write a LiteRT model with 8-bit integer weights and activations.", group="Where and how"
    )
    int8_data: str | None = option(
        None,
        "Dataset whose images calibrate the int8 model: digits, folder:PATH, npz:PATH or a TFDS name.",
        group="Where and how",
        default_words="that of the run",
    )
    int8_images: int = option(
        200,
        "Images that calibrate the int8 model.",
        group="Where and how",
        unit="images",
        at_least=16,
        at_most=100_000,
    )
    data_dir: str | None = option(
        None, "Folder in which TensorFlow Datasets keeps prepared data.", group="Where and how"
    )
    license: str | None = option(
        None,
        "License named in the model card, such as Apache-2.0.",
        group="Where and how",
        default_words="that of an imported run, else none",
    )

    def validate(self) -> None:
        super().validate()
        for name in self.formats:
            if name not in FORMATS:
                raise InputError(f"--format={name} is unknown: {nearest(name, FORMATS)}")
        if self.int8 and "litert" not in self.formats:
            raise InputError("--int8 needs --format=litert.")
        if "://" in self.out and self.formats != ("saved_model",):
            raise InputError(
                f"--out={self.out}: only saved_model can be written to a remote path; give a local folder."
            )
        if SAVED_MODEL in self.formats:
            check_no_pattern(self.out if "://" in self.out else os.path.realpath(self.out), "--out")
        if self.decode_images and "saved_model" not in self.formats:
            raise InputError("--decode_images needs --format=saved_model.")

    @property
    def formats(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.format.split(",")))

    @property
    def signatures(self) -> tuple[str, ...] | None:
        return None if self.endpoints is None else tuple(dict.fromkeys(self.endpoints.split(",")))

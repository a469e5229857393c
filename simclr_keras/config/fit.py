"""The settings of simclr fit."""

import dataclasses
import os

from simclr_keras.config.base import StageConfig
from simclr_keras.config.groups.model import Backbone
from simclr_keras.config.option import Settings, again, option
from simclr_keras.config.output_paths import check_local, check_no_pattern, check_outside
from simclr_keras.errors import InputError
from simclr_keras.files import absolute
from simclr_keras.models.backbone_names import is_backbone, is_hub
from simclr_keras.models.zoo import check_name


@dataclasses.dataclass(frozen=True)
class FitConfig(Settings):
    """The flags of fit."""

    dataset: str = option("", "Photos: folder:PATH.", group="Data", required="give your photos, folder:PATH")
    labels: str | None = again(
        StageConfig,
        "labels",
        help="CSV of filename,label, and of split if you have chosen test images. Without it, sub-folders are the "
        "classes. Not all photos need a label.",
    )
    test_fraction: float = option(
        0.2,
        "Share of the labeled photos that are held out as test images, in each class. Near duplicates stay together. "
        "Unused if the data has test images of its own, in test/ beside train/, or by the split in --labels.",
        group="Data",
        above=0,
        at_most=0.9,
    )
    init: str | None = option(
        None,
        "Network that the features come from: keras:NAME of keras.applications, published:NAME, torch:FILE, or the "
        "run directory of an earlier pretraining. Without it, a network is pretrained on the photos.",
        group="Model",
    )
    backbone_weights: str | None = again(
        Backbone,
        "backbone_weights",
        help="Weights of a keras: or hub: network in --init: a file, imagenet (keras:) or preset (hub:).",
        default_words="imagenet or preset, which are downloaded",
    )
    model: str = option(
        "r18_0.5x_sk0",
        "Network that is trained from random weights, and the small one of the distillation.",
        group="Model",
    )
    image_size: int | None = option(
        None,
        "Side of the square images that networks see.",
        group="Model",
        unit="pixels",
        at_least=8,
        at_most=1024,
        default_words="several sizes are tried with --init, else 96; at most that of the photos",
    )
    minutes: float = option(
        60.0,
        "Time for all trainings together. Pieces that do not fit are listed as not tried. Repeat the command with more "
        "minutes to try them, too: finished pieces are not run again.",
        group="Run",
        unit="minutes",
        above=0,
    )
    out: str = option(
        "", "Folder to write: the export and its page.", group="Run", required="give a folder to write"
    )
    runs: str | None = option(
        None,
        "Folder of the trainings and figures, from which fit continues.",
        group="Run",
        default_words="OUT-runs",
    )
    overwrite: bool = option(False, "Replace an export in --out that is not of this command.", group="Run")
    seed: int = again(StageConfig, "seed", group="Run")

    def validate(self) -> None:
        super().validate()
        kind, _, path = self.dataset.partition(":")
        if kind != "folder" or not path:
            raise InputError(f"--dataset={self.dataset}: fit takes photos in a folder; give folder:PATH.")
        check_name(self.model)
        if is_backbone(self.model):
            raise InputError(f"--model={self.model} is for --init; give a network such as r18_0.5x_sk0.")
        self._check_init()
        for flag, folder in (("out", self.out), ("runs", self.runs_folder)):
            check_local(folder, "folder", flag)
            check_no_pattern(os.path.realpath(folder), f"--{flag}")
            check_outside(folder, self.dataset, flag)

    @property
    def absolute_dataset(self) -> str:
        """Return --dataset with the absolute path of the folder."""
        return f"folder:{absolute(self.dataset.partition(':')[2])}"

    def _check_init(self) -> None:
        init = self.init or ""
        if is_backbone(init):
            Backbone(self.backbone_weights).check_backbone(init, self.image_size, 0.0)
        elif self.backbone_weights is not None:
            raise InputError(
                f"--backbone_weights={self.backbone_weights} is for --init=keras:NAME or hub:PRESET; give one, or "
                "leave it out."
            )

    def check_paths(self) -> None:
        """Raise InputError if the photos or a file are missing."""
        path = self.dataset.removeprefix("folder:")
        if "://" not in path and not os.path.isdir(path):
            raise InputError(f"--dataset={self.dataset}: no such folder; give the folder of your photos.")
        for flag in ("labels", "backbone_weights"):
            file = getattr(self, flag)
            if file not in (None, "imagenet", "preset") and "://" not in file and not os.path.isfile(file):
                raise InputError(f"--{flag}={file} not found; give a file that exists.")

    @property
    def runs_folder(self) -> str:
        """Folder of the trainings and figures."""
        return self.runs or f"{self.out.rstrip('/')}-runs"

    @property
    def weights_of_backbone(self) -> str:
        """The initial weights of a keras: or hub: network in --init."""
        return self.backbone_weights or ("preset" if is_hub(self.init or "") else "imagenet")

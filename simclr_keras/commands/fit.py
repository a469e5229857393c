"""`simclr fit`: from photos and labels to an exported classifier and one page about it."""

import importlib

from simclr_keras import packages
from simclr_keras.config.command import Command
from simclr_keras.config.fit import FitConfig
from simclr_keras.errors import InputError
from simclr_keras.interop.fetching.addresses import check_address
from simclr_keras.models.backbone_names import is_backbone

INTRODUCTION = """\
Finds the best classifier of your photos within --minutes, exports it and writes a page about it.

  simclr fit --dataset=folder:photos --labels=labels.csv --out=exports/photos --init=keras:ResNet50
  simclr fit --dataset=folder:photos --labels=labels.csv --out=exports/photos

It first holds out test images, which no training and no choice sees. It then compares, by
cross-validation on the other labeled photos: logistic regression on the features of a network, with
and without colors; fine-tuning; pretraining on all photos, without labels; and distillation.
The best is trained on all other labels, and exports/photos/report.html shows how good it is.
The plan with times comes first. If interrupted, rerun it to continue. `python train.py --mode=fit`
in a checkout is the same command.

Exit codes: 0 done; 1 training failed; 2 the command or the data is wrong; 130 stopped by Ctrl-C
(SIGINT); 143 stopped by SIGTERM."""


def _check(config: FitConfig) -> None:
    config.check_paths()
    if config.init and not is_backbone(config.init):
        check_address(config.init, "init", "an earlier stage")
    for module in packages.missing(packages.TRAINING):
        raise InputError(packages.remedy(module))


def _fit(config: FitConfig) -> None:
    importlib.import_module("simclr_keras.fit.run").run(config)


COMMAND = Command("fit", INTRODUCTION, FitConfig, _fit, check=_check)

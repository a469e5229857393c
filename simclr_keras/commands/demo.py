"""`simclr demo`: the whole method on digits, with 5 labels per class. A finished stage is not run again."""

import dataclasses
import os

from simclr_keras.backend import start_tensorflow_quietly
from simclr_keras.commands import export, train
from simclr_keras.config.command import Command
from simclr_keras.config.option import Settings, option
from simclr_keras.config.output_paths import check_local, check_no_pattern
from simclr_keras.tools import report

INTRODUCTION = """\
Runs the whole method on small images of digits: pretraining without labels, fine-tuning on 5 labels
per class, distillation, a report, an export, and the classification of one digit by the export.

  simclr demo             # 3 to 5 minutes on two quiet CPU cores
  simclr demo --quick     # a few steps of each: shows that everything works; the figures are poor

It needs one device, no network and no data. If interrupted, rerun it to continue.

Exit codes: as those of the stages."""

# Less of everything; the figures mean nothing then.
QUICK = {
    "pretrain": ("--epochs=2", "--nobaselines"),
    "finetune": ("--epochs=10",),
    "distill": ("--epochs=2",),
}


@dataclasses.dataclass(frozen=True)
class DemoConfig(Settings):
    """The flags of demo."""

    runs: str = option("runs/demo", "Folder of the run directories and of report.png.")
    out: str = option("exports/digits", "Folder of the export; an earlier one is replaced.")
    quick: bool = option(False, "Train each network for a few steps, and leave the baselines out.")

    def validate(self) -> None:
        super().validate()
        check_local(self.runs, "folder", "runs")
        check_local(self.out, "folder", "out")
        check_no_pattern(os.path.realpath(self.out), "--out")

    @property
    def folder(self) -> str:
        """Folder of the run directories: those of --quick have one of their own."""
        return f"{self.runs}-quick" if self.quick else self.runs


def steps(config: DemoConfig) -> list[list[str]]:
    """Return the words of `train.main` for every run, in order."""
    runs = config.folder

    def words(mode: str, recipe: str, name: str, *flags: str) -> list[str]:
        less = QUICK[mode] if config.quick else ()
        # On one device: TensorFlow cannot tell apart the replicas of several runs of a process.
        first = [f"--mode={mode}", f"--recipe={recipe}", f"--model_dir={runs}/{name}", "--strategy=one"]
        return [*first, *flags, *less]

    pretrain = words("pretrain", "digits_demo", "pretrain", "--labels_per_class=5")
    finetune = [
        words(
            "finetune",
            "digits_finetune",
            f"finetune-layer{layer}",
            f"--init={runs}/pretrain",
            f"--head_layer={layer}",
        )
        for layer in (0, 1)
    ]
    distill = words("distill", "digits_distill", "distill", f"--teacher={runs}/finetune-layer1")
    if config.quick:
        return [pretrain, finetune[1], distill]
    return [words("supervised", "digits_supervised", "supervised"), pretrain, *finetune, distill]


def demo(config: DemoConfig) -> None:
    """Run all steps in this process."""
    start_tensorflow_quietly(devices=False)
    from simclr_keras.export.export_folder import check_out

    check_out(config.out, overwrite=True)
    runs, program = config.folder, "simclr demo"
    for words in steps(config):
        print(f"\n== simclr {' '.join(words).removeprefix('--mode=')}", flush=True)
        train.main([program, *words])
    print(f"\n== simclr report {runs}", flush=True)
    report.COMMAND.main([program, runs, f"--out={runs}/report.png"])
    words = [f"--run={runs}/distill", f"--out={config.out}", "--overwrite"]
    print(f"\n== simclr export {' '.join(words)}", flush=True)
    export.COMMAND.main([program, *words])
    classify(config.out)


def classify(folder: str) -> None:
    """Classify one digit by a SavedModel, as a program without this package does."""
    import tensorflow as tf
    from sklearn.datasets import load_digits

    digits = load_digits()
    image = tf.image.grayscale_to_rgb(tf.image.resize(digits.images[:1, ..., None] / 16, (16, 16), "bicubic"))
    model = tf.saved_model.load(folder)
    logits = model.signatures["logits"](images=tf.clip_by_value(image, 0, 1))["logits"]
    print(f"digit    {digits.target[0]} classified as {int(tf.argmax(logits[0]))} by {folder}")


COMMAND = Command("demo", INTRODUCTION, DemoConfig, demo, tensorflow=False)

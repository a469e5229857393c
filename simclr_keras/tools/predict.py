"""simclr predict: the most probable classes of image files."""

import contextlib
import csv
import dataclasses
import json
import os
import sys

from simclr_keras.config.command import Command
from simclr_keras.config.option import Settings, again, option
from simclr_keras.config.output_paths import check_file
from simclr_keras.errors import InputError, one_line, some
from simclr_keras.files import write_file
from simclr_keras.formatting import counted
from simclr_keras.tools.csv_lines import CsvLines
from simclr_keras.tools.embed import EmbedConfig

ENDINGS = (".csv", ".jsonl")
INTRODUCTION = """\
Prints the most probable classes of image files, by a model with a classifier.

  simclr predict --model=runs/photos-classifier photo.jpg more_photos/
  simclr predict --model=exports/flowers photos --top=3 --out=predictions.csv

Folders are searched at any depth. Unreadable files are skipped; the first ten are named. If the
folders of all images have names of classes, their accuracy is printed last.

Exit codes: 0 done, at least one file is readable; 1 --out cannot be written; 2 the command or the
model is wrong, or no file is readable."""


@dataclasses.dataclass(frozen=True)
class PredictConfig(Settings):
    """The flags of predict."""

    model: str = again(EmbedConfig, "model")
    top: int = option(5, "Classes per image, the most probable first.", unit="classes", at_least=1)
    out: str | None = option(
        None, f"Also write the predictions to a file, {' or '.join(ENDINGS)}, with all digits."
    )
    image_size: int | None = again(EmbedConfig, "image_size")
    batch_size: int = again(EmbedConfig, "batch_size")
    overwrite: bool = option(False, "Replace --out.")


_WIDEST = 60  # characters to which file names are padded
_LONGEST = 4096  # characters of a file name that are printed
_MOST_BAD = 10  # files that are named


def _check(config: PredictConfig) -> None:
    if config.out:
        check_file(config.out, ENDINGS, config.overwrite)


def _execute(config: PredictConfig, paths: list[str]) -> None:
    out = config.out
    rows, class_names = [], []
    predictions = predict(
        config.model,
        paths,
        top=config.top,
        image_size=config.image_size,
        batch_size=config.batch_size,
        bad=_print_unreadable,
        all_classes=class_names.extend,
    )
    with _saved_on_failure(rows, out):
        for path, classes in predictions:
            if not rows:
                width = min(max(map(len, [path, *paths])), _WIDEST)
            rows.append((path, classes))
            try:
                print(line(path, classes, width), flush=True)
            except BrokenPipeError:  # the reader has closed the pipe, as `head` does
                sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
                if not out:
                    return
    if text := accuracy_line(rows, class_names):
        print(text)
    if out:
        _write(out, rows)
        print(f"table    {out}")


@contextlib.contextmanager
def _saved_on_failure(rows, out):
    """Write the predictions so far to a file beside `out` if the block fails or is interrupted."""
    try:
        yield
    except BaseException:
        if rows and out:
            stem, ending = os.path.splitext(out)
            _write(f"{stem}.partial{ending}", rows)
            print(
                f"predict: {stem}.partial{ending} contains the first {counted(len(rows), 'prediction')}",
                file=sys.stderr,
            )
        raise


def accuracy_line(rows: list[tuple], class_names: list[str]) -> str | None:
    """Return the accuracy of predictions as text if every image is in a folder named after a class."""
    from simclr_keras.evaluation.metrics import accuracy_interval

    folders = [os.path.basename(os.path.dirname(os.path.abspath(path))) for path, _ in rows]
    if not {*folders} <= {*class_names}:
        return None
    correct = sum(classes[0][0] == folder for folder, (_, classes) in zip(folders, rows))
    low, high = accuracy_interval(correct, len(rows))
    return (
        f"accuracy {correct / len(rows):.1%} (95 % interval {low:.1%} to {high:.1%}): {correct:,} of {len(rows):,} "
        "images are predicted to be of the class that their folder names"
    )


def predict(model, paths, *, top=5, image_size=None, batch_size=64, bad=None, all_classes=None):
    """Yield the most probable classes of image files.

    Args:
        model: path of a run directory, an export or a .keras file, or a TF-Hub handle.
        paths: of files and folders. top: how many classes of each.
        image_size: side in pixels, None for what the model was trained on. batch_size: images at a time.
        bad: called with the list of (path, reason) of the files that cannot be read, if there are any, before the
            first prediction; or None.
        all_classes: called with the names of all classes before the first prediction; or None.

    Yields:
        (path, list of (class name, probability in [0, 1]), the most probable first)

    Raises:
        InputError: the model has no classifier or cannot be loaded, or no file can be read.
    """
    import tensorflow as tf

    from simclr_keras.data import pipeline
    from simclr_keras.data.sources.source import FileStore, Source
    from simclr_keras.export.endpoints import LOGITS
    from simclr_keras.tools.any_model import open_model
    from simclr_keras.tools.embed import vector_function
    from simclr_keras.tools.images.find_images import find_images

    opened = open_model(model)
    size = opened.size(image_size)
    compute, classes = vector_function(opened, opened.find(LOGITS), size)
    names = opened.names_of(classes)
    if all_classes is not None:
        all_classes(names)
    readable, problems = find_images(paths)
    if problems and bad is not None:
        bad(problems)
    if not readable:
        reasons = some([f"{path} {problem}" for path, problem in problems], 2)
        raise InputError(f"no readable image: {reasons}; give image files.")
    files = tuple(readable)
    source = Source("files", FileStore(list(readable.values())), files)
    try:
        settings = {"image_size": size, "batch_size": batch_size, "antialias": opened.antialias}
        for batch in pipeline.eval_batches(source, **settings):
            probabilities, order = tf.math.top_k(tf.nn.softmax(compute(batch["image"])), min(top, classes))
            for row, shares, best in zip(batch["id"].numpy(), probabilities.numpy(), order.numpy()):
                # Through text: the float32 0.1 would become 0.10000000149.
                yield files[row], [(names[i], float(str(share))) for i, share in zip(best, shares)]
    except tf.errors.OpError as error:
        raise InputError(
            f"an image became unreadable ({one_line(error)}); restore it or leave it out."
        ) from error


def line(path: str, classes: list[tuple[str, float]], width: int) -> str:
    """Return a file and its classes as a line of text; control characters become spaces."""
    return f"{_shown(path):<{width}}  " + "  ".join(f"{_shown(name)} {share:.1%}" for name, share in classes)


def _shown(name):
    # Two spaces in a name stay two, so that the printed name is still that of the file.
    return name if name.isprintable() else one_line(name, _LONGEST)


def _print_unreadable(problems):
    lines = [f"{path} {problem}; skipped" for path, problem in problems[:_MOST_BAD]]
    if more := len(problems) - len(lines):
        lines.append(f"and {more:,} more unreadable files, {len(problems):,} in all; skipped")
    for text in lines:
        print(f"predict: {text}", file=sys.stderr, flush=True)


def _write(path, rows):
    def as_csv(file):
        ranks = range(1, len(rows[0][1]) + 1)
        writer = csv.writer(CsvLines(file))
        writer.writerow(
            ["file", *(f"{column}_{rank}" for rank in ranks for column in ("class", "probability"))]
        )
        writer.writerows([name, *(cell for pair in classes for cell in pair)] for name, classes in rows)

    def as_jsonl(file):
        for name, classes in rows:
            record = {"file": name, "classes": [{"class": n, "probability": p} for n, p in classes]}
            file.write((json.dumps(record) + "\n").encode())

    write_file(path, as_jsonl if path.lower().endswith(".jsonl") else as_csv)


COMMAND = Command(
    "predict",
    INTRODUCTION,
    PredictConfig,
    _execute,
    "no images: give image files, or folders of images.",
    _check,
)

if __name__ == "__main__":
    COMMAND.leave()

"""The table of commands that are refused, and the files they meet."""

import dataclasses
import io
import zipfile
import zlib

import numpy as np
import tensorflow as tf

from simclr_keras.config.pretrain import PretrainConfig
from simclr_keras.runs.run_dir import RunDir

GOOD = {
    "mode": "pretrain",
    "dataset": "digits",
    "model": "r18_0.125x_sk0",
    "image_size": 8,
    "batch_size": 32,
    "epochs": 1,
}
RUN = "run"  # the run directory of every command, below the test's own folder


@dataclasses.dataclass(frozen=True)
class Case:
    """A command that is refused.

    Attributes:
        name: what is wrong.
        wrong: words of the message that name it.
        right: words of the message that say what would be right.
        flags: beside and instead of GOOD; None leaves a flag out, {tmp} is the test's folder.
        words: put behind the flags as they are.
        make: makes files in that folder; what it returns is kept until the command is over.
    """

    name: str
    wrong: tuple
    right: tuple
    flags: dict = dataclasses.field(default_factory=dict)
    words: tuple = ()
    make: object = lambda folder: None


def png(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    path.write_bytes(tf.io.encode_png(pixels).numpy())


def flat_folder(count=4, csv=None):
    def make(folder):
        for i in range(count):
            png(folder / "images" / f"{i}.png", i)
        if csv is not None:
            (folder / "labels.csv").write_text(csv)

    return make


def beside_good_images(**files):
    """Writes images of which some are bad: name without its ending to (ending, bytes)."""

    def make(folder):
        flat_folder()(folder)
        for name, (ending, content) in files.items():
            (folder / "images" / f"{name}.{ending}").write_bytes(content)

    return make


def csv_of_bytes(content):
    def make(folder):
        flat_folder()(folder)
        (folder / "labels.csv").write_bytes(content)

    return make


def half_a_jpeg():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    whole = tf.io.encode_jpeg(pixels).numpy()
    return whole[: len(whole) // 2]


def png_that_claims(width, height):
    whole = bytearray(tf.io.encode_png(np.zeros((9, 9, 3), np.uint8)).numpy())
    whole[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
    return bytes(whole)


def only_other_pictures(folder):
    (folder / "images").mkdir()
    for name in ("a.jp2", "b.svg"):
        (folder / "images" / name).write_bytes(b"picture")


def npz_that_claims(shape):
    """An archive whose x_train says it has this shape, and holds nothing."""

    def make(folder):
        array = io.BytesIO()
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(array, header)
        with zipfile.ZipFile(folder / "data.npz", "w") as archive:
            archive.writestr("x_train.npy", array.getvalue())

    return make


def only_text(folder):
    (folder / "images").mkdir()
    (folder / "images" / "notes.txt").write_text("no image")


def only_broken(folder):
    (folder / "images").mkdir()
    for i in range(2):
        (folder / "images" / f"{i}.jpg").write_text("no image")


def npz(**arrays):
    """Writes data.npz: good arrays, some of them replaced, or left out where None."""
    good = {
        "x_train": np.zeros((40, 9, 9, 3), np.uint8),
        "y_train": np.arange(40) % 3,
        "x_test": np.zeros((10, 9, 9, 3), np.uint8),
        "y_test": np.arange(10) % 3,
    }
    kept = {name: array for name, array in {**good, **arrays}.items() if array is not None}
    return lambda folder: np.savez(folder / "data.npz", **kept)


def earlier_run(**settings):
    """Makes a run directory of the good command with some settings changed."""
    return lambda folder: running(folder, **settings).close()


def running(folder, **settings):
    """As `earlier_run`, of a run that is still going until what is returned is dropped."""
    flags = {name: value for name, value in GOOD.items() if name != "mode"}
    flags |= {"warmup_epochs": 0.0, "model_dir": str(folder / RUN), "steps_per_execution": 1, **settings}
    run_dir = RunDir(folder / RUN)
    run_dir.open_for("pretrain", PretrainConfig(**flags))
    run_dir.bind("pretrain", PretrainConfig(**flags))
    # Without a checkpoint there would be nothing to lose.
    tf.io.gfile.makedirs(run_dir.checkpoints)
    (folder / RUN / "checkpoints" / "step-1.index").write_text("")
    return run_dir


def file_in_place_of(*parts):
    def make(folder):
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")

    return make


NPZ, FOLDER = {"dataset": "npz:{tmp}/data.npz"}, {"dataset": "folder:{tmp}/images"}
WITH_CSV = {**FOLDER, "labels": "{tmp}/labels.csv", "batch_size": 2}

COMMAND = [
    Case("no mode", ("--mode", "missing"), ("pretrain",), {"mode": None}),
    Case("unknown mode", ("--mode=pretrian",), ("did you mean pretrain?",), {"mode": "pretrian"}),
    Case("unknown recipe", ("--recipe=cifar_small",), ("cifar10_small",), {"recipe": "cifar_small"}),
    Case("unknown flag", ("unknown flag --learning-rate",), ("--learning_rate",), {"learning-rate": 1}),
    Case("a flag like no other", ("unknown flag --zzz",), ("--help",), {"zzz": 1}),
    Case("unreadable integer", ("--epochs=ten",), ("whole number",), {"epochs": "ten"}),
    Case("fraction of an epoch", ("--epochs=1.5",), ("whole number",), {"epochs": "1.5"}),
    Case("unreadable float", ("--learning_rate=fast",), ("a number",), {"learning_rate": "fast"}),
    Case("not a number", ("--temperature=nan",), ("above 0",), {"temperature": "nan"}),
    Case("infinite", ("--learning_rate=inf",), ("finite and above 0",), {"learning_rate": "inf"}),
    Case("unreadable switch", ("--baselines=perhaps",), ("true or false",), {"baselines": "perhaps"}),
    Case("flag without its value", ("--seed has no value",), ("--seed=value",), words=("--seed",)),
    Case("stray word", ("'digits'",), ("--name=value",), words=("digits",)),
    Case("unknown choice", ("--optimizer=sgd",), ("lars", "momentum", "adamw"), {"optimizer": "sgd"}),
]
SETTINGS = [
    Case("unknown remedy for NaN", ("--on_nan=skip ",), ("skip_batch, stop",), {"on_nan": "skip"}),
    Case(
        "unknown remedy for bad images",
        ("--on_bad_image=ignore ",),
        ("skip", "error"),
        {"on_bad_image": "ignore"},
    ),
    Case(
        "negative minutes",
        ("--checkpoint_every_minutes=-1.0 ",),
        ("at least 0",),
        {"checkpoint_every_minutes": -1},
    ),
    Case("no checkpoints kept", ("--keep_checkpoints=0 ",), ("at least 1",), {"keep_checkpoints": 0}),
    Case("unknown model", ("'r51_1x_sk0'",), ("Did you mean r50_1x_sk0?",), {"model": "r51_1x_sk0"}),
    Case("no dataset", ("--dataset is missing",), ("digits", "folder:PATH", "npz:PATH"), {"dataset": None}),
    Case("batch of one", ("--batch_size=1 ",), ("at least 2",), {"batch_size": 1}),
    *(
        Case(
            f"micro-batch of {size}",
            (f"--microbatch_size={size} does not divide --batch_size=32",),
            (f"such as {divisor}",),
            {"microbatch_size": size},
        )
        for size, divisor in ((12, 8), (64, 16))
    ),
    Case("negative micro-batch", ("--microbatch_size=-8 ",), ("at least 0",), {"microbatch_size": -8}),
    Case("image too small", ("--image_size=7 ",), ("at least 8",), {"image_size": 7}),
    Case("image too large", ("--image_size=5000 ",), ("at most 4096",), {"image_size": 5000}),
    Case("no epochs", ("--epochs=0 ",), ("at least 1",), {"epochs": 0}),
    Case("negative seed", ("--seed=-1 ",), ("at least 0",), {"seed": -1}),
    Case("nothing held out", ("--eval_fraction=0.0 ",), ("above 0 and below 1",), {"eval_fraction": 0}),
    Case("all held out", ("--eval_fraction=1.0 ",), ("above 0 and below 1",), {"eval_fraction": 1}),
    Case("no labels", ("--label_fraction=0.0 ",), ("above 0 and at most 1",), {"label_fraction": 0}),
    Case("too many labels", ("--label_fraction=1.5 ",), ("above 0 and at most 1",), {"label_fraction": 1.5}),
    Case("no labels of a class", ("--labels_per_class=0 ",), ("at least 1",), {"labels_per_class": 0}),
    Case(
        "two counts of labels",
        ("--label_fraction", "--labels_per_class"),
        ("give one of them",),
        {"label_fraction": 0.5, "labels_per_class": 3},
    ),
    Case("probe beyond the head", ("--probe_layer=4 ",), ("0 to 3",), {"probe_layer": 4}),
    Case(
        "probe beyond a linear head",
        ("--probe_layer=2 ",),
        ("0 to 1",),
        {"probe_layer": 2, "proj_mode": "linear"},
    ),
    *(
        Case(
            f"a TPU that --strategy={strategy} would not use",
            ("--tpu=mine is not used", f"--strategy={strategy}"),
            ("leave one of them out", "--strategy=tpu"),
            {"tpu": "mine", "strategy": strategy},
        )
        for strategy in ("one", "mirrored")
    ),
    Case(
        "several hosts that nothing names",
        ("--strategy=multi_worker needs several hosts", "neither TF_CONFIG nor Slurm names them"),
        ("set TF_CONFIG on every host",),
        {"strategy": "multi_worker"},
    ),
    Case(
        "many replicas on one device",
        ("--strategy=one is a single device", "--num_replicas=2"),
        ("give --strategy=mirrored",),
        {"strategy": "one", "num_replicas": 2},
    ),
    Case(
        "a batch that replicas cannot share",
        ("--batch_size=32 is not a multiple of the 3 replicas",),
        ("give a multiple",),
        {"num_replicas": 3},
    ),
    Case(
        "queue smaller than a batch",
        ("--memory_size=32 ", "less than the 64 rows", "--batch_size=32"),
        ("give 64, or 0",),
        {"memory": "queue", "memory_size": 32},
    ),
    Case(
        "queue of no whole batches",
        ("--memory_size=100 ", "no multiple of the 64 rows"),
        ("give 64 or 128",),
        {"memory": "queue", "memory_size": 100},
    ),
    Case("decay of 1", ("--ema_decay=1.0 ",), ("below 1",), {"memory": "queue", "ema_decay": 1.0}),
    Case("negative decay", ("--ema_decay=-0.1 ",), ("at least 0",), {"memory": "queue", "ema_decay": -0.1}),
    *(
        Case(f"--{name} without memory", (f"--{name}={value} ",), ("--memory=queue",), {name: value})
        for name, value in {"ema_decay": 0.99, "memory_size": 64}.items()
    ),
    Case(
        "warm-up longer than the run",
        ("--warmup_epochs=2 ", "--epochs=1"),
        ("at most 1", "--warmup_epochs=0.05"),
        {"warmup_epochs": 2},
    ),
    Case(
        "falling blur range",
        ("--blur_sigma_max=0.5 ", "--blur_sigma_min=1.0"),
        ("a larger --blur_sigma_max",),
        {"blur_sigma_min": 1, "blur_sigma_max": 0.5},
    ),
    Case(
        "falling crop range",
        ("--crop_max_area=0.05 ", "--crop_min_area=0.08"),
        ("a larger --crop_max_area",),
        {"crop_max_area": 0.05},
    ),
    Case(
        "crops below a tenth",
        ("--crop_max_area=0.1", "a tenth of the image"),
        ("give more than 0.1, such as 0.2",),
        {"crop_max_area": 0.1},
    ),
    Case("large label seed", (f"--label_seed={2**64}",), (f"at most {2**64 - 1}",), {"label_seed": 2**64}),
]
FOLDERS = [
    Case("missing folder", ("no folder", "/images"), ("a folder of images",), FOLDER),
    Case("empty folder", ("/images contains no",), ("image files such as .jpg",), FOLDER, make=only_text),
    Case(
        "folder of broken images", ("None of the 2",), ("give JPEG or PNG images",), FOLDER, make=only_broken
    ),
    Case(
        "file for a folder",
        ("/images is a file",),
        ("give the folder",),
        FOLDER,
        make=file_in_place_of("images"),
    ),
    Case("no path", ("needs a path",), ("folder:photos",), {"dataset": "folder:"}),
    Case("one image", ("fewer than 2 training images",), ("give more",), FOLDER, make=flat_folder(1)),
    Case(
        "batch larger than the folder",
        ("--batch_size=32 ", "4 training images"),
        ("--batch_size=4 or less",),
        FOLDER,
        make=flat_folder(4),
    ),
    Case(
        "missing labels file",
        ("no labels file", "labels.csv"),
        ("filename,label",),
        WITH_CSV,
        make=flat_folder(),
    ),
    Case(
        "labels without a header for three columns",
        ("labels.csv line 1", "3 columns"),
        ("filename,label,split",),
        WITH_CSV,
        make=flat_folder(csv="0.png;a;train\n1.png;b;val\n2.png;a;train\n"),
    ),
    Case(
        "a label without an image",
        ("labels.csv line 3", "no image 7.png"),
        ("relative to it",),
        WITH_CSV,
        make=flat_folder(csv="filename,label\n0.png,a\n7.png,b\n1.png,a\n2.png,a\n3.png,a\n"),
    ),
    Case(
        "a negative label",
        ("labels.csv", "label -2"),
        ("classes from 0",),
        WITH_CSV,
        make=flat_folder(csv="0.png,0\n1.png,1\n2.png,-2\n3.png,1\n"),
    ),
    Case(
        "folders of two evaluation splits",
        ("test, val have names of splits",),
        ("train/", "--unlabeled"),
        FOLDER,
        make=lambda folder: [
            png(folder / "images" / name / f"{i}.png", i) for name in ("test", "val") for i in (0, 1)
        ],
    ),
    Case(
        "labels and no labels",
        ("--unlabeled and --labels",),
        ("give one of them",),
        {**WITH_CSV, "unlabeled": "true"},
        make=flat_folder(csv="0.png,a\n"),
    ),
    Case("digits without labels", ("unlabeled goes with",), ("folder:PATH",), {"unlabeled": "true"}),
    Case("labels for digits", ("labels",), ("folder:PATH only",), {"labels": "labels.csv"}),
]
BAD_FILES = {**FOLDER, "on_bad_image": "error", "batch_size": 2}
FILES = [
    Case(
        "an empty image",
        ("1 of the 5 image files", "e.jpg (is empty)"),
        ("--on_bad_image=skip skips them",),
        BAD_FILES,
        make=beside_good_images(e=("jpg", b"")),
    ),
    Case(
        "half an image",
        ("h.jpg (is damaged or incomplete (a JPEG))",),
        ("Repair or remove", "--on_bad_image=skip"),
        BAD_FILES,
        make=lambda folder: beside_good_images(h=("jpg", half_a_jpeg()))(folder),
    ),
    Case(
        "an image that would fill the memory",
        ("60000 x 60000 pixels, the limit is 178,956,970",),
        ("Repair or remove",),
        BAD_FILES,
        make=lambda folder: beside_good_images(b=("png", png_that_claims(60000, 60000)))(folder),
    ),
    Case(
        "two images that are none",
        ("2 of the 6 image files", "s.png (is no", "t.jpg (is no"),
        ("Repair or remove",),
        BAD_FILES,
        make=beside_good_images(t=("jpg", b"some text"), s=("png", bytes(99))),
    ),
    Case(
        "other pictures alone",
        ("/images contains no", "1 .jp2, 1 .svg"),
        ("convert them to JPEG or PNG",),
        FOLDER,
        make=only_other_pictures,
    ),
    Case(
        "labels in UTF-16",
        ("labels.csv", "line 1 is not UTF-8"),
        ("save the file as CSV in UTF-8",),
        WITH_CSV,
        make=csv_of_bytes("0.png,a\n1.png,b\n".encode("utf-16")),
    ),
    Case(
        "labels in Latin-1",
        ("labels.csv", "line 2 is not UTF-8"),
        ("save the file as CSV in UTF-8",),
        WITH_CSV,
        make=csv_of_bytes("0.png,a\n1.png,caf\u00e9\n".encode("latin-1")),
    ),
    Case(
        "labels with an open quotation mark",
        ("labels.csv",),
        ("quotation mark missing",),
        WITH_CSV,
        make=csv_of_bytes(b'0.png,"a\n1.png,b\n2.png,a\n'),
    ),
    Case(
        "labels with a zero byte",
        ("labels.csv", "line 2 is not UTF-8"),
        ("save the file as CSV in UTF-8",),
        WITH_CSV,
        make=csv_of_bytes(b"0.png,a\n1.png,b\0\n"),
    ),
]
ARRAYS = [
    Case(
        "an archive that claims too much",
        ("x_train", "does not fit into memory"),
        ("fewer or smaller images",),
        NPZ,
        make=npz_that_claims((10**9, 1000, 1000, 3)),
    ),
    Case("missing archive", ("no file", "/data.npz"), ("an .npz archive",), NPZ),
    Case("no archive", ("not an .npz",), ("numpy.savez",), NPZ, make=file_in_place_of("data.npz")),
    Case(
        "cut archive",
        ("Cannot read", "/data.npz"),
        ("numpy.savez",),
        NPZ,
        make=lambda folder: (folder / "data.npz").write_bytes(b"PK\x03\x04" + bytes(99)),
    ),
    Case("no images", ("no array x_train",), ("training images",), NPZ, make=npz(x_train=None)),
    Case("no test labels", ("no y_test",), ("give these labels", "drop x_test"), NPZ, make=npz(y_test=None)),
    Case("no test images", ("y_test but no x_test",), ("give the images",), NPZ, make=npz(x_test=None)),
    Case(
        "normalized images",
        ("x_train", "Received: -1 to 1"),
        ("[0, 1] or [0, 255]", "undo a normalization"),
        NPZ,
        make=npz(x_train=np.linspace(-1, 1, 40 * 9 * 9 * 3).reshape(40, 9, 9, 3)),
    ),
    Case(
        "images of objects",
        ("x_train", "Python objects"),
        ("save a plain uint8",),
        NPZ,
        make=npz(x_train=np.array([None] * 40)),
    ),
    Case(
        "images of four channels",
        ("x_train", "shape [40, 9, 9, 4]"),
        ("[n, height, width, 3]",),
        NPZ,
        make=npz(x_train=np.zeros((40, 9, 9, 4), np.uint8)),
    ),
    Case(
        "empty images",
        ("x_train", "no images"),
        ("at least 2",),
        NPZ,
        make=npz(x_train=np.zeros((0, 9, 9, 3), np.uint8)),
    ),
    Case("float labels", ("y_train", "float64"), ("integers",), NPZ, make=npz(y_train=np.zeros(40))),
    Case(
        "labels that do not match",
        ("y_train", "39 labels for 40 images"),
        ("one label per image",),
        NPZ,
        make=npz(y_train=np.zeros(39, int)),
    ),
    Case("negative labels", ("y_train", "label -2"), ("from 0",), NPZ, make=npz(y_train=np.full(40, -2))),
    Case(
        "labels beyond the class names",
        ("label 2", "2 class_names"),
        ("0..1",),
        NPZ,
        make=npz(class_names=np.array(["a", "b"])),
    ),
    Case("test labels out of range", ("y_test", "label 9"), ("0..2",), NPZ, make=npz(y_test=np.full(10, 9))),
    Case(
        "more labels asked for than there are",
        ("'1'", "labels_per_class=14"),
        ("give 13 or less",),
        {**NPZ, "labels_per_class": 14},
        make=npz(),
    ),
    Case(
        "batch larger than the data",
        ("--batch_size=41 ", "40 training images"),
        ("--batch_size=40 or less",),
        {**NPZ, "batch_size": 41},
        make=npz(),
    ),
]
DATASETS = [
    Case("unknown dataset", ("'cifar1'",), ("similar names:", "cifar10"), {"dataset": "cifar1"}),
    Case("unknown kind of dataset", ("'fodler'",), ("folder:photos",), {"dataset": "fodler:photos"}),
]
RUN_DIRECTORIES = [
    Case(
        "run directory in use",
        ("is in use by process",),
        ("wait for it, stop it", "another directory"),
        make=running,
    ),
    Case(
        "run directory that reads as a pattern",
        ("run[1]", "takes for a pattern"),
        ("a path without them",),
        {"model_dir": "{tmp}/run[1]"},
    ),
    Case("run directory is a file", ("is a file",), ("give a directory",), make=file_in_place_of(RUN)),
    Case(
        "run directory below a file",
        ("/file/run", "cannot be made"),
        ("you may write to",),
        {"model_dir": "{tmp}/file/run"},
        make=file_in_place_of("file"),
    ),
    Case(
        "run with other settings",
        ("--temperature was 0.7, now 0.1", "--seed was 3, now 0"),
        (
            "repeat its settings",
            "another --model_dir",
            "What may change: --epochs upward",
            "--eval_every_epochs",
        ),
        make=earlier_run(temperature=0.7, seed=3),
    ),
    Case(
        "run of more epochs",
        ("--epochs was 5, now 1",),
        ("repeat its settings", "another --model_dir"),
        make=earlier_run(epochs=5),
    ),
    Case(
        "directory of something else",
        ("contains metrics.csv", "no config.json"),
        ("another directory",),
        make=file_in_place_of(RUN, "metrics.csv"),
    ),
    Case(
        "settings of something else",
        ("config.json is damaged",),
        ("another --model_dir",),
        make=file_in_place_of(RUN, "config.json"),
    ),
]
CASES = [*COMMAND, *SETTINGS, *FOLDERS, *FILES, *ARRAYS, *DATASETS, *RUN_DIRECTORIES]

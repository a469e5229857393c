"""Write published weights as a run directory."""

import tensorflow as tf

from simclr_keras.errors import InputError, one_line
from simclr_keras.files import whole_folder
from simclr_keras.runs import ancestors
from simclr_keras.runs.architecture import Architecture
from simclr_keras.runs.checkpoints import Checkpoints, state_of_model
from simclr_keras.runs.records import SplitRecord
from simclr_keras.runs.run_dir import RunDir


def read_class_names(path, classes):
    """Return the lines of a text file, or None without a path.

    Raises:
        InputError: it is unreadable, or has another number of lines than classes (None: there is no classifier).
    """
    if not path:
        return None
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            names = file.read().decode("utf-8-sig").split("\n")
    except (tf.errors.OpError, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--class_names={path} cannot be read ({one_line(error)}); give a text file."
        ) from error
    names = [name.strip() for name in names]
    while names and not names[-1]:
        names.pop()
    if classes is None:
        raise InputError(f"--class_names={path}, but the network has no classifier; leave it out.")
    if len(names) != classes or not all(names):
        empty = " with empty ones among them" if not all(names) else ""
        raise InputError(
            f"--class_names={path} has {len(names)} lines{empty}, but there are {classes} classes; give a name for "
            "each."
        )
    return names


def check_out(path, overwrite):
    """Raise InputError if the run directory exists and may not be replaced, or is not an imported one."""
    run_dir = RunDir(path, "out")
    run_dir.check_path()
    if not tf.io.gfile.exists(run_dir.path) or not tf.io.gfile.listdir(run_dir.path):
        return
    try:
        result = run_dir.read_result()
        is_imported = result and result.imported and run_dir.read_config()
    except InputError:
        is_imported = False
    if not is_imported:
        raise InputError(f"--out={path} contains other things than an imported run; give another folder.")
    if not overwrite:
        raise InputError(
            f"--out={path} contains an imported run already; give another folder, or --overwrite."
        )


def write(run, published, out, class_names=None, overwrite=False):
    """Write the run directory of an ImportedRun: under another name first, and renamed once it is complete.

    Raises:
        InputError: an array cannot be read, or the folder cannot be made. TrainingError: it cannot be written.
    """
    with whole_folder(out, lambda path: check_out(path, overwrite)) as partial:
        run_dir = RunDir(partial, "out")
        place = ancestors.place_of(run.config.dataset)
        run_dir.bind(run.config.NAME, run.config, ancestors=[], place=place)
        run_dir.write_split(SplitRecord(class_names=class_names))
        run_dir.write_architecture(Architecture(**published.architecture))
        state = state_of_model(published.load())
        tf.io.gfile.makedirs(run_dir.checkpoints)
        Checkpoints(run_dir.checkpoints, state, keep=1).save(run.result.get("step", 1))
        run_dir.write_result(run.result)

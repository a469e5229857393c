"""The files of a run directory: their names, and how each is read and replaced. Local ones need no TensorFlow."""

import json
from typing import TYPE_CHECKING, Any

from simclr_keras import files
from simclr_keras.config.output_paths import check_no_pattern
from simclr_keras.errors import InputError, one_line
from simclr_keras.runs.earlier_names import upgrade_settings
from simclr_keras.runs.records import ConfigRecord, RecordError, ResultRecord, SplitRecord

if TYPE_CHECKING:
    from simclr_keras.runs.architecture import Architecture

CONFIG, SPLIT, RESULT, MODEL = "config.json", "split.json", "result.json", "model.json"
METRICS = "metrics.csv"
CHECKPOINTS, BEST, TENSORBOARD = "checkpoints", "best", "tensorboard"
LOCK, TRAINING_IMAGES = "run.lock", "training_images.tsv.gz"
BASELINES, HEAD_LAYER = "baselines.json", "head_layer.json"
FOLDERS = (CHECKPOINTS, BEST, TENSORBOARD)
PYTHON = "path"  # in place of a flag: the argument of `load_run`
LARGEST = 64_000_000  # bytes of a result: far more than 20,000 classes take


def is_run_dir(path: str) -> bool:
    """Return whether a path is a run directory."""
    exists = files.file_system(path).exists
    return bool(exists(f"{path}/{CONFIG}") and exists(f"{path}/{CHECKPOINTS}"))


class RunFiles:
    """The files of one run directory.

    Args:
        path: local path or any that tf.io.gfile knows.
        flag: name of the flag that gave the path, for messages; PYTHON if a Python call gave it, None if it was found
            below another one.
        writes: whether this process writes the files; False on all hosts of a run but the chief, where the methods that
            write do nothing.
    """

    def __init__(self, path: Any, flag: str | None = "model_dir", writes: bool = True) -> None:
        self.path = files.expand_home(path).rstrip("/") or "/"
        self.flag = flag
        self.writes = writes

    @property
    def option(self) -> str:
        """The flag or argument that gave the path, as messages name it."""
        return {PYTHON: "path", None: "run"}.get(self.flag, f"--{self.flag}")

    def file(self, *parts: str) -> str:
        """Return the path of a file inside the directory."""
        return "/".join((self.path, *parts))

    @property
    def checkpoints(self) -> str:
        """Path of the folder of the newest checkpoints."""
        return self.file(CHECKPOINTS)

    @property
    def best(self) -> str:
        """Path of the folder of the checkpoint that did best on the evaluation split."""
        return self.file(BEST)

    @property
    def tensorboard(self) -> str:
        """Path of the folder of TensorBoard's events."""
        return self.file(TENSORBOARD)

    def has(self, name: str) -> bool:
        """Return whether a file exists."""
        return bool(files.file_system(self.path).exists(self.file(name)))

    def write(self, name: str, content: bytes | str) -> None:
        """Replace a file as a whole. Raises TrainingError if it cannot be written."""
        if self.writes:
            files.write_file(self.file(name), content)

    def read_bytes(self, name: str, most: int = -1) -> bytes | None:
        """Return the content of a file, or None if it is missing. Raises InputError if it is unreadable."""
        try:
            return files.read_file(self.file(name), most)
        except files.errors_of(self.path) as error:
            raise self.damaged(name, error) from error

    def read_text(self, name: str) -> str | None:
        """Return the text of a file, or None if it is missing. Raises InputError if it is unreadable."""
        content = self.read_bytes(name)
        try:
            return None if content is None else content.decode()
        except UnicodeDecodeError as error:
            raise self.damaged(name, error) from error

    def is_config(self) -> bool:
        """Return whether config.json is that of a run, not of another program. Raises InputError if it is no JSON."""
        values = self._read_any_json(CONFIG)
        return isinstance(values, dict) and isinstance(values.get("mode"), str)

    def read_config(self) -> ConfigRecord | None:
        """Return the content of config.json, or None if it is missing. Raises InputError if it is damaged."""
        values = self._read_json(CONFIG)
        return None if values is None else self._record(ConfigRecord, CONFIG, values)

    def write_config(self, record: ConfigRecord) -> None:
        """Replace config.json."""
        self._write_json(CONFIG, record.to_json())

    def read_split(self) -> SplitRecord | None:
        """Return the content of split.json, or None if it is missing. Raises InputError if it is damaged."""
        values = self._read_json(SPLIT)
        return None if values is None else self._record(SplitRecord, SPLIT, values)

    def write_split(self, record: SplitRecord) -> None:
        """Replace split.json."""
        self._write_json(SPLIT, record.to_json())

    def read_result(self) -> ResultRecord | None:
        """Return the content of result.json, or None if it is missing. Raises InputError if it is damaged."""
        values = self._read_json(RESULT)
        return None if values is None else self._record(ResultRecord, RESULT, values)

    def write_result(self, values: dict[str, Any]) -> dict[str, Any]:
        """Replace result.json, a `ResultRecord` and figures, and return its content, which has no empty values."""
        content = ResultRecord.from_json(values).to_json()
        self._write_json(RESULT, content)
        return content

    def read_architecture(self) -> "Architecture | None":
        """Return the content of model.json, or None if it is missing (runs of earlier versions).

        Raises:
            InputError: it is damaged.
        """
        from simclr_keras.runs.architecture import Architecture

        values = self._read_json(MODEL)
        return None if values is None else self._record(Architecture, MODEL, values)

    def write_architecture(self, architecture: "Architecture") -> None:
        """Replace model.json."""
        self._write_json(MODEL, architecture.to_json())

    def read_baselines(self) -> dict[str, Any]:
        """Return the figures of raw pixels and of the untrained encoder; empty if there are none."""
        return self._read_json(BASELINES) or {}

    def write_baselines(self, figures: dict[str, Any]) -> None:
        """Keep the figures of raw pixels and of the untrained encoder for a resumed run."""
        self._write_json(BASELINES, figures)

    def read_fold_scores(self, mode: str, metric: str) -> tuple[dict[str, Any], dict[str, float]]:
        """Return settings and scores, by layer and fold, of a stage with --head_layer=auto; empty without any."""
        try:
            values = self._read_json(HEAD_LAYER) or {}
        except InputError:
            return {}, {}
        settings, scores = values.get("settings"), values.get(metric)
        if not (isinstance(settings, dict) and isinstance(scores, dict)):
            return {}, {}
        return upgrade_settings(mode, settings), scores

    def write_fold_scores(self, settings: dict[str, Any], metric: str, scores: dict[str, float]) -> None:
        """Keep the scores by layer and fold that were measured with these settings."""
        self._write_json(HEAD_LAYER, {"settings": settings, metric: scores})

    def damaged(self, name: str, reason: Any) -> InputError:
        """Return the error of a file that does not contain what a run writes."""
        otherwise = f"give another {self.option}" if self.flag else "leave its run out"
        return InputError(
            f"{self.file(name)} is damaged ({one_line(reason, 100)}); restore it, or {otherwise}."
        )

    def check_path(self) -> None:
        """Raise InputError if the path is a file, or one that TensorFlow could not read checkpoints from."""
        check_no_pattern(self.path, self.option)
        try:
            system = files.file_system(self.path)
            if system.exists(self.path) and not system.isdir(self.path):
                raise InputError(f"{self.option}={self.path} is a file; give a directory.")
        except files.errors_of(self.path) as error:
            raise InputError(
                f"{self.option}={self.path} is unreadable ({one_line(error)}); give a path that TensorFlow knows."
            ) from error

    def _record(self, kind: Any, name: str, values: dict[str, Any]) -> Any:
        try:
            return kind.from_json(values)
        except RecordError as error:
            raise self.damaged(name, error) from error

    def _read_json(self, name: str) -> dict[str, Any] | None:
        values = self._read_any_json(name)
        if values is not None and not isinstance(values, dict):
            raise self.damaged(name, f"it holds a {type(values).__name__}")
        return values

    def _read_any_json(self, name: str) -> Any:
        # Only the lists of ids in split.json have no length limit.
        content = self.read_bytes(name, -1 if name == SPLIT else LARGEST + 1)
        if content is None:
            return None
        if name != SPLIT and len(content) > LARGEST:
            raise self.damaged(name, f"it is larger than {LARGEST:,} bytes")
        try:
            values = json.loads(content.decode())
        except (ValueError, RecursionError) as error:
            raise self.damaged(name, error) from error
        if values is None:
            raise self.damaged(name, "it holds null")
        return values

    def _write_json(self, name: str, values: dict[str, Any]) -> None:
        self.write(name, json.dumps(values, indent=2) + "\n")

"""The directory of a run that trains: whether it may be used, its lock, and the settings it is bound to."""

import dataclasses
import os
import tempfile
from typing import Any

from simclr_keras import files
from simclr_keras.config.option import differences, may_change
from simclr_keras.errors import InputError, one_line
from simclr_keras.runs.checkpoints import steps_in
from simclr_keras.runs.records import AncestorEntry, ConfigRecord, ResultRecord
from simclr_keras.runs.run_files import CONFIG, FOLDERS, METRICS, RESULT, RunFiles
from simclr_keras.runs.run_lock import RunLock


class RunDir(RunFiles):
    """A run directory that a stage, or an import, writes.

    Nothing is made or written before `open_for`.
    """

    def __init__(self, path: Any, flag: str = "model_dir", writes: bool = True) -> None:
        super().__init__(path, flag, writes)
        self._lock = RunLock(self.path)

    def check(self, mode: str, config: Any) -> None:
        """Raise InputError if a stage may not run here; writes nothing, so it can come first.

        If there is no checkpoint yet, nothing would be lost: any settings may replace the ones in config.json.

        Raises:
            InputError: the path is a file or cannot be written to; the directory is in use by another process, or
                contains other things than a run, or a run with other settings (names the fields that differ).
        """
        self.check_path()
        if self.writes:
            self._lock.check()
        old = self.read_config()
        if old is None:
            # Another program's files with our names: a run would overwrite them.
            for name in (*FOLDERS, METRICS, RESULT):
                if self.has(name):
                    raise InputError(
                        f"--model_dir={self.path} contains {name} but no {CONFIG}, so it is not a simclr_keras run; "
                        "give another directory."
                    )
        elif steps_in(self.checkpoints) or self.has(RESULT):
            self._check_same(old, mode, config)
        if self.writes:
            self._check_writable()

    def open_for(self, mode: str, config: Any) -> None:
        """Make the directory and keep other processes out of it until `close`.

        Raises:
            InputError: see `check`; or the directory cannot be made or written.
        """
        if not self.writes:
            return
        try:
            files.file_system(self.path).makedirs(self.path)
        except files.errors_of(self.path) as error:
            raise InputError(
                f"--model_dir={self.path} cannot be made ({one_line(error)}); give a directory you may write to."
            ) from error
        self._lock.acquire()
        self.check(mode, config)  # again: another process may have used it meanwhile
        files.remove_leftovers(self.path)

    def bind(
        self,
        mode: str,
        config: Any,
        ancestors: list[AncestorEntry] | None = None,
        place: str | None = None,
        class_names: list[str] | None = None,
        replicas: int | None = None,
        hosts: int | None = None,
    ) -> None:
        """Write config.json: the settings of the run, and what later stages need beside them, see `ConfigRecord`.

        A run that is continued to more epochs keeps the earlier number under "extended_from": up to there it
        followed the learning rates of the shorter run.
        """
        old = self.read_config() if steps_in(self.checkpoints) else None
        extended_from = list(old.extended_from) if old else []
        if old and config.epochs and old.settings.get("epochs") != config.epochs:
            extended_from.append(old.settings["epochs"])
        settings = dataclasses.asdict(config)
        record = ConfigRecord(mode, settings, ancestors, place, class_names, extended_from, replicas, hosts)
        self.write_config(record)

    def extended_from(self) -> list[int]:
        """Return the numbers of epochs that the run was first started for, if it was continued to more."""
        config = self.read_config()
        return config.extended_from if config else []

    def close(self) -> None:
        """Let other processes in."""
        self._lock.release()

    def finished(self, config: Any) -> ResultRecord | None:
        """Return the result of a run that has reached all epochs of `config`, or None.

        A damaged result counts as none: the end of the run replaces it.
        """
        try:
            result = self.read_result()
        except InputError:
            return None
        return result if result and result.has_ended(config) else None

    def _check_writable(self) -> None:
        if files.is_remote(self.path):  # there it would cost a round trip and prove nothing
            return
        folder = files.existing_folder(os.path.abspath(self.path))
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise InputError(
                f"--model_dir={self.path} cannot be written to ({error.strerror}); give a directory you may write to."
            ) from error

    def _check_same(self, old: ConfigRecord, mode: str, config: Any) -> None:
        if old.mode != mode:
            raise InputError(
                f"--model_dir={self.path} contains a run of --mode={old.mode}; give another directory."
            )
        old_config = old.config(self.file(CONFIG))  # values of any kind could not be compared
        changed = differences(old.settings, config)
        if changed:
            listed = ", ".join(f"--{name} was {was}, now {now}" for name, was, now in changed)
            kept = ["model_dir"]  # another one would be another run
            if old_config.depends_on_replicas:
                kept += ["strategy", "tpu", "num_replicas"]
            raise InputError(
                f"--model_dir={self.path} contains a run with other settings ({listed}); repeat its settings to "
                "continue it, or give another --model_dir to start a new one. What may change: "
                f"{may_change(config, kept)}."
            )

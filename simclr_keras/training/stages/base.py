"""The frame of every stage: checks, data, run directory, then `execute`. Subclasses define the hooks below `run`."""

import contextlib
import copy
import dataclasses
import gc
import time

import tensorflow as tf

from simclr_keras.backend import custom_gradients_freed, quiet_start
from simclr_keras.data.sources.load_dataset import held_out_share
from simclr_keras.errors import InputError, TrainingError, one_line, some
from simclr_keras.evaluation.features import Extractor
from simclr_keras.formatting import counted, duration
from simclr_keras.hosts import SIGNAL_SECONDS
from simclr_keras.runs import ancestors
from simclr_keras.runs.checkpoints import steps_in
from simclr_keras.runs.run_dir import RunDir
from simclr_keras.runs.run_files import RESULT
from simclr_keras.runs.seen_images import notes_on_seen_images
from simclr_keras.training.engine import checks, introduction, run_names, signals
from simclr_keras.training.engine import strategy as strategies
from simclr_keras.training.engine.data_recovery import Recovery, data_failure
from simclr_keras.training.engine.inputs import eval_batch_size
from simclr_keras.training.engine.introduction import count_labels
from simclr_keras.training.engine.run_data import RunData
from simclr_keras.training.stages.judging import cross_validated
from simclr_keras.version import __version__


class Stage:
    """One run of a stage. A subclass sets the constants and defines `title`, `execute` and `say_result`.

    Attributes:
        MODE: name of the stage, as --mode takes it. FILES: names of pictures and tables beside result.json.
        config: the stage's config, with every "auto" resolved.
        strategy, policy: the tf.distribute strategy and the name of the Keras dtype policy.
        run_dir: RunDir. data: RunData. stop: signals.Stop.
        say: function that prints a line.
    """

    MODE: str
    FILES: tuple[str, ...] = ()

    def __init__(self, config, say=print):
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        with quiet_start():
            self.strategy, self.hosts, reason = strategies.make_devices(
                config.strategy, config.tpu, config.num_replicas, config.host_timeout, say
            )
        self.policy = strategies.resolve_precision(config.precision, self.strategy)
        devices = f"devices  {self.describe_devices()} (strategy {reason})"
        self.say = _say_after(devices, say) if self.hosts.is_chief else lambda line: None
        paths = {flag: getattr(config, flag) for flag in config.RUN_FLAGS}
        paths = {flag: run_names.normal_path(path) for flag, path in paths.items() if path}
        config = self.inherit(dataclasses.replace(config, **paths))
        config.validate()  # now with the inherited settings
        self.config = dataclasses.replace(
            config,
            # Instead of "auto", which another machine might resolve otherwise.
            precision=self.policy.replace("mixed_", ""),
            dataset=run_names.normal_dataset(config.dataset),
            model_dir=config.model_dir or self._default_dir(config),
            eval_antialias=bool(config.eval_antialias),
            steps_per_execution=config.steps_per_execution
            or (20 if strategies.on_accelerator(self.strategy) else 1),
        )
        self.run_dir = RunDir(self.config.model_dir, writes=self.hosts.is_chief)
        ids = ancestors.inherited_ids(self.source_runs(), self.config)
        self.data = RunData(self.config, self.run_dir, ids, self.say, self.split_all)
        self.notes: list[str] = []
        self.seen_images = 0
        self.stop = signals.Stop()

    def run(self) -> dict:
        """Run the stage, or continue it from its newest checkpoint; return the result, as in result.json.

        Raises:
            InputError: the data or a setting does not fit; before anything long starts.
            TrainingError: loss or weights are no longer finite, or disk, memory or data fail for good.
            Stopped: SIGINT or SIGTERM came; the current step is saved.
        """
        started = time.monotonic()
        with signals.listening() as self.stop, self._hosts_that_answer(), custom_gradients_freed():
            self.hosts.share_stop(self.stop)
            settings = {f"--{name}": value for name, value in vars(self.config).items() if name != "data_dir"}
            # Each host may have its own copy of the data.
            self.hosts.check_same({**settings, "the number of GPUs": self.strategy.num_replicas_in_sync})
            self.run_dir.check(self.MODE, self.config)
            result = self.finished_result()
            if result is not None:
                self.check_lineage(result.get("ancestors"))
                longer = "" if self.config.train_steps else "to train longer, give a higher --epochs; "
                self.say(
                    f"{self.config.model_dir} is finished; {longer}to start anew, give another --model_dir"
                )
                self.say_result(result)
                self.say_warnings(result)
                return result
            self.check_config()
            if self.run_dir.read_config() is None:
                checks.check_outside_images(self.config)
            with self.hosts.chief_first():
                self.data.load()
            if self.splits.held_out is not None:
                ancestors.check_eval_fraction(self.config, self.lineage())
            self.notes, self.seen_images = self.doubts()
            self.check_data()
            try:
                self.run_dir.open_for(self.MODE, self.config)
                self._check_same_data()
                result = self._execute_until_data_is_good()
                result = self.run_dir.write_result(result)
                self.hosts.wait()
            finally:
                self.run_dir.close()
        self.say_result(result)
        self.say_warnings(result)
        unreadable = self.data.splits.unreadable
        if unreadable:
            names = some([f"{name} ({why})" for name, why in unreadable])
            self.say(f"left out {counted(len(unreadable), 'unreadable image')}: {names}")
        files = [self.run_dir.file(RESULT), *filter(self.run_dir.has, self.FILES)]
        self.say(f"done in {duration(time.monotonic() - started)}: {', '.join(files)}")
        return result

    def _default_dir(self, config):
        """Return the default run directory; one named before the dataset was in its name, if it is of this run."""
        place = ancestors.place_of(config.dataset)
        earlier = run_names.default_model_dir(self.MODE, config)
        if all(place == ancestors.place_of(run.config.dataset) for run in self.source_runs()):
            return earlier
        with contextlib.suppress(InputError):
            record = RunDir(earlier).read_config()
            if record and (record.mode, record.settings.get("init"), record.place) == (
                self.MODE,
                config.init,
                place,
            ):
                return earlier
        return run_names.default_model_dir(self.MODE, config, other_dataset=True)

    def _execute_until_data_is_good(self) -> dict:
        recovery = Recovery(self.say)
        while True:
            try:
                # In a copy, so that its network is freed before the next attempt: there may be no room for both.
                return copy.copy(self).execute()
            except tf.errors.ResourceExhaustedError as error:
                raise TrainingError(
                    f"out of memory with {self.batch_setting} ({one_line(error)}); {self.less_memory}give "
                    f"{self.smaller_batch}, or a smaller --model or --image_size, in another --model_dir."
                ) from error
            except tf.errors.OpError as error:
                if self.hosts.count > 1:  # the others do not come back with this one
                    raise
                step = max(steps_in(self.run_dir.checkpoints), default=0)
                self.stop.all_saved(f"step {step} is saved" if step else None)
                recovery.retry(error, step, lambda: self.data.load(recheck=True))
            gc.collect()  # a Keras model is in a reference cycle

    @contextlib.contextmanager
    def _hosts_that_answer(self):
        """Report in one line that another host has ended, or that this one cannot go on without them."""
        try:
            yield
        except tf.errors.OpError as error:
            if self.hosts.count == 1:
                raise
            if why := data_failure(error):
                raise TrainingError(
                    f"cannot read a batch ({why}); checkpoints are kept: repair the data, then start the same "
                    "command on all hosts again."
                ) from error
            # A signal that ended the other host may still be on its way to this one.
            time.sleep(3 * SIGNAL_SECONDS)
            step = max(steps_in(self.run_dir.checkpoints), default=0)
            self.stop.all_saved(f"step {step} is saved" if step else None)
            raise TrainingError(
                f"another host has ended, or is unreachable ({one_line(error, 100)}); see its message, then start the "
                "same command on all hosts again: it continues from the last checkpoint."
            ) from error

    def _check_same_data(self):
        """Raise InputError unless all hosts have the same images."""
        if self.hosts.count == 1:
            return
        parts = [part for part in (self.splits.train, self.splits.evaluation) if part is not None]
        digests = [part.fingerprint() if part.indexed else len(part) for part in parts]
        self.hosts.check_same({"the images": [self.splits.class_names, digests]})

    @property
    def splits(self):
        """Return the Splits of the run."""
        return self.data.splits

    # Hooks, in the order in which `run` uses them.

    def inherit(self, config):
        """Return the config with what it leaves open taken from an earlier run; check that run."""
        return config

    def finished_result(self) -> dict | None:
        """Return the result if the run is finished and need not run again, else None."""
        return None

    def lineage(self) -> list[dict]:
        """Return the records of the runs that this one descends from, oldest first."""
        return []

    def check_lineage(self, began_with: list[dict] | None) -> None:
        """Raise InputError if an ancestor run has changed since this run began with that lineage, if known."""
        old_runs = {run.get("run"): run for run in began_with or []}
        for run in self.lineage():
            old = old_runs.get(run["run"])
            if old and (old.get("step"), old.get("checkpoint")) != (run.get("step"), run["checkpoint"]):
                raise InputError(
                    f"{run['run']} is at step {run.get('step')} now, and was at step {old.get('step')} when "
                    f"--model_dir={self.config.model_dir} began from it; give another --model_dir."
                )

    def check_config(self) -> None:
        """Raise InputError if the settings do not suit the devices; called before the data is opened."""

    def doubts(self) -> tuple[list[str], int]:
        """Return notes on evaluation images that earlier runs saw, and the known number of such images."""
        notes, count = notes_on_seen_images(self.config, self.lineage(), self.splits)
        if self.splits.held_out is not None:
            notes = [*ancestors.moved_notes(self.source_runs(), self.config), *notes]
        return notes, count

    def split_all(self, whole):
        """Return the Splits of whole data that is evaluated on without holding images out; None to hold out images."""
        return None

    def source_runs(self) -> list:
        """Return the OpenRuns that this one starts from, the one whose split counts first."""
        return []

    def check_data(self) -> None:
        """Raise InputError if the data does not suit the stage."""

    @property
    def title(self) -> str:
        """Return what the run does, for its first line."""
        raise NotImplementedError

    def introduction(self):
        """Yield the lines printed before the work starts."""
        size = self.config.image_size
        yield f"simclr_keras {__version__}: {self.title}, images of {size} x {size} pixels"
        for run in self.source_runs():
            if run.ema:
                yield f"weights  momentum network of {run.path}"
            yield from (f"weights  {run.path}: {note}" for note in run.notes)
        for line in [*introduction.describe_data(self.splits), *self.notes]:
            yield f"data     {line}"

    def execute(self) -> dict:
        """Do the work on bound data and return the result; called again if the data fails in between."""
        raise NotImplementedError

    def say_result(self, result: dict) -> None:
        """Print how good the result is."""
        raise NotImplementedError

    def say_warnings(self, result: dict) -> None:
        """Print why the figures may not mean what they seem to."""
        for warning in result.get("warnings", ()):
            self.say(f"warning  {warning}")

    @property
    def batch_setting(self) -> str:
        """Return the flag and value that bound the memory of a step."""
        return f"--batch_size={self.config.batch_size}"

    @property
    def less_memory(self) -> str:
        """Return what the same run can do to need less memory, before other remedies; or ""."""
        return ""

    @property
    def smaller_batch(self) -> str:
        """Return what another run can do to need less memory in its steps."""
        return "a smaller one"

    # Shared by subclasses.

    def describe_devices(self) -> str:
        """Return number and kind of the devices, the hosts if there are several, and the precision."""
        return strategies.describe(self.strategy, self.policy, self.hosts.count)

    def ancestry(self) -> dict:
        """Return what config.json records beside the settings, for later stages and for resuming."""
        return {"ancestors": self.lineage(), "place": ancestors.place_of(self.config.dataset)}

    @property
    def held_out_fraction(self) -> float | None:
        """Return the share of the images that is held out by content; None if the data has its own evaluation split."""
        return held_out_share(self.config.eval_fraction) if self.splits.held_out is not None else None

    def extractor(self, model, *endpoints: str) -> Extractor:
        """Return an Extractor of these endpoints with the images and the batch size of the config."""
        return Extractor(
            model,
            self.strategy,
            image_size=self.config.image_size,
            batch_size=eval_batch_size(self.config),
            endpoints=endpoints,
            antialias=self.config.eval_antialias,
            say=self.say,
            hosts=self.hosts,
        )

    def cross_validated(self, model, endpoint: str, class_names) -> dict:
        """Return the cross-validated accuracy on features of a network that saw no labels, see `judging`."""
        if class_names is None:
            return {}
        extractor = self.extractor(model, endpoint)
        return cross_validated(
            lambda source: extractor(source)[endpoint],
            self.splits.train,
            self.splits.evaluation,
            len(class_names),
        )

    def facts(self, model, evaluation) -> dict:
        """Return what every result records; evaluation: the source that gave the scores, or None."""
        config = self.config
        return {
            "mode": self.MODE,
            "finished": True,
            "version": __version__,
            "model": config.model,
            "parameters": model.encoder.count_params(),
            "dataset": config.dataset,
            "eval_fraction": self.held_out_fraction,
            "image_size": config.image_size,
            "training_images": self.splits.train.num_examples,
            "evaluation_images": 0 if evaluation is None else count_labels(evaluation),
            "evaluation_images_seen": self.seen_images or None,
            "devices": self.describe_devices(),
            "precision": config.precision,
            "seed": config.seed,
            "epochs": config.epochs if config.trains else None,
            "unreadable_images": len(self.splits.unreadable),
            "warnings": self.notes,
        }


def _say_after(first, say):
    """Return a function that prints a line, and before its first line another one."""
    unsaid = iter([first])

    def say_line(line):
        for unsaid_line in unsaid:
            say(unsaid_line)
        say(line)

    return say_line

"""What every stage shares, from the first check to the result; subclasses say what is trained, and judge it."""

import copy
import dataclasses
import gc
import sys
import time

import keras
import tensorflow as tf

from simclr_keras.data.sources.fingerprint import contents_of
from simclr_keras.errors import InputError, TrainingError, one_line, some
from simclr_keras.evaluation.features import Extractor
from simclr_keras.runs import ancestors
from simclr_keras.runs import architecture as architectures
from simclr_keras.runs.checkpoints import Checkpoints, steps_in
from simclr_keras.runs.data_binding import bind_data
from simclr_keras.runs.run_dir import CONFIG, RESULT, SPLIT, RunDir
from simclr_keras.training.engine import checks, loop, signals
from simclr_keras.training.engine import strategy as strategies
from simclr_keras.training.engine.data_recovery import Recovery
from simclr_keras.training.engine.progress import History
from simclr_keras.version import __version__


class Stage:
    """One run of a stage. A subclass sets MODE and COLUMNS and defines the methods below `run`.

    Attributes:
        config: the stage's config, with nothing left open that the machine decides.
        strategy, policy: the tf.distribute strategy and the name of the Keras dtype policy.
        run_dir: RunDir.
        splits: Splits of the run.
        contents: of the data, by `contents_of`; None until it has been opened. known_by: that by which `selection`
            is to know it again in another place, or None.
        learner, schedule: the compiled Learner, and the learning rate by step.
        architecture: arguments of `create_model` for the learner's network.
        stop: stopping.Stop. history: History.
        say: prints a line.
    """

    MODE = None
    COLUMNS = ()  # of metrics.csv
    REPEATED = False  # whether a finished run is gone through again
    FILES = ("curves.png", "metrics.csv")  # beside result.json, for people

    def __init__(self, config, say=print):
        self.say = say
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        self.strategy = strategies.make_strategy(config.strategy, config.tpu)
        self.policy = strategies.resolve_precision(config.precision, self.strategy)
        paths = {name: getattr(config, name, None) for name in ("init", "teacher")}
        paths = {name: checks.spelled_path(path) for name, path in paths.items() if path}
        config = self.inherit(dataclasses.replace(config, **paths))
        config.validate()  # now with what another run has given
        self.config = dataclasses.replace(
            config,
            # What "auto" came to: another machine must not change it silently.
            precision=self.policy.replace("mixed_", ""),
            dataset=checks.spelled(config.dataset),
            model_dir=config.model_dir or checks.default_model_dir(self.MODE, config),
            steps_per_execution=config.steps_per_execution
            or (20 if strategies.on_accelerator(self.strategy) else 1),
        )
        self.run_dir = RunDir(self.config.model_dir)
        self.contents = self.known_by = None
        self.splits = self.learner = self.schedule = self.architecture = self.stop = self.history = None

    def run(self):
        """Goes from the newest checkpoint, or the beginning, to the end; returns what result.json holds.

        Raises:
            InputError: the data or a setting does not fit; before anything long starts.
            TrainingError: loss or weights are no longer finite, or disk, memory or data fail for good.
            Stopped: SIGINT or SIGTERM came; the step it was at is saved.
        """
        config, started = self.config, time.monotonic()
        with signals.listening() as stop:
            self.run_dir.check(self.MODE, config)
            result = self.run_dir.finished(config)
            if result is not None and not self.REPEATED:
                self.check_lineage(result.get("ancestors"))
                self.say(
                    f"{config.model_dir} is finished; a higher --epochs trains on, another --model_dir starts anew"
                )
                self.say_result(result)
                return result
            self.check_config()
            splits = self.load_data()
            self.check_data(splits)
            looking = copy.copy(self)
            looking.splits = splits
            checks.check_warmup(config, looking.num_examples)
            try:
                self.run_dir.open_for(self.MODE, config)
                result, unreadable = self._recovering(splits, stop)
            finally:
                self.run_dir.close()
        self.say_result(result)
        if unreadable:
            named = some([f"{name} ({why})" for name, why in unreadable])
            self.say(f"left out {len(unreadable)} images that cannot be read: {named}")
        self.say(
            f"done in {checks.duration(time.monotonic() - started)}: "
            + ", ".join([self.run_dir.file(RESULT), *filter(self.run_dir.has, self.FILES)])
        )
        return result

    def _recovering(self, splits, stop):
        recovery = Recovery(self.say)
        while True:
            try:
                # A copy, so that all an attempt has made is dropped before the next: there may be no room for both.
                return copy.copy(self)._go(splits, stop)
            except tf.errors.ResourceExhaustedError as error:
                name = "batch_size" if hasattr(self.config, "batch_size") else "eval_batch_size"
                raise TrainingError(
                    f"out of memory with --{name}={getattr(self.config, name)} ({one_line(error)}); give a smaller "
                    "one, or a smaller --model or --image_size, in another --model_dir."
                ) from error
            except tf.errors.OpError as error:
                step = max(steps_in(self.run_dir.checkpoints), default=0)
                stop.all_saved(f"step {step} is saved" if step else None)
                splits = recovery.load_again(error, step, lambda: self.load_data(recheck=True))
            gc.collect()  # a Keras model holds itself

    def _go(self, splits, stop):
        config, run_dir = self.config, self.run_dir
        self.stop = stop
        stop.all_saved()
        resumed = bool(steps_in(run_dir.checkpoints))
        if resumed:
            self.check_lineage((run_dir.read_json(CONFIG) or {}).get("ancestors"))
        self.splits = bind_data(run_dir, splits, resumed, self.say, self.contents)
        # Not before the data: preparing it may draw from Python's generator, which initializers take their seeds from.
        keras.utils.set_random_seed(config.seed)
        self.learner, self.schedule = self.make_learner()
        checks.check_space(run_dir, self.learner.state(), config)
        checkpoints = Checkpoints(run_dir.checkpoints, self.learner.state(), config.keep_checkpoints)
        first_step = checkpoints.restore(self.say)
        # Not before the refusals: it may be another stage, or longer, than what is written down there.
        run_dir.bind(self.MODE, config, **self.told())
        architectures.write(run_dir, self.architecture)
        stop.all_saved(f"step {first_step} is saved" if first_step else None)
        self.history = history = History(run_dir, self.COLUMNS, first_step)
        for line in self.introduction():
            self.say(line)
        self.say(f"run      {config.model_dir}" + (f", continued at step {first_step}" if first_step else ""))
        sys.stdout.flush()
        evaluate = self.begin(first_step)
        loop.train(
            self.learner,
            self.strategy,
            self.make_batches(),
            config=config,
            num_examples=self.num_examples,
            checkpoints=checkpoints,
            history=history,
            schedule=self.schedule,
            first_step=first_step,
            evaluate=evaluate,
            stop=stop,
            say=self.say,
        )
        history.close()
        result = self.end(history)
        result |= {
            "ancestors": self.lineage(),
            "missing_images": len(self.splits.missing),
            "extended_from": run_dir.extended_from(),
        }
        run_dir.write_result(result)
        return result, self.splits.unreadable

    def inherit(self, config):
        """Returns the config with what it leaves open taken from the run it goes on from; checks that run."""
        return config

    def told(self):
        """What config.json holds beside the settings, for the stages after it."""
        return {
            "ancestors": self.lineage(),
            "place": ancestors.place_of(self.config.dataset),
            "labels_chosen": ancestors.chose_labels(self.config) or "labeled" in self.selection(),
        }

    def check_lineage(self, began_with):
        """Raises InputError where a run that this one goes on from has changed since it began.

        Args:
            began_with: its lineage then; None where that was not written down.
        """
        then = {run.get("run"): run for run in began_with or []}
        for run in self.lineage():
            old = then.get(run["run"])
            if old and (old.get("step"), old.get("checkpoint")) != (run.get("step"), run["checkpoint"]):
                raise InputError(
                    f"{run['run']} is at step {run.get('step')} now, and was at step {old.get('step')} when "
                    f"--model_dir={self.config.model_dir} began from it; give another --model_dir."
                )

    def check_config(self):
        """Raises InputError where the settings do not suit the devices; asked before the data is opened."""
        checks.check_batch(self.config, self.strategy)

    def lineage(self):
        """The runs this one goes on from, oldest first."""
        return []

    def selection(self):
        """The arguments of `sources.load` that keep to what an earlier run held out and saw."""
        return {}

    def load_data(self, recheck=False):
        """Returns the Splits that the config names."""
        selection = self.selection()
        splits = checks.load_data(self.config, recheck=recheck, **selection)
        # Once: later some files may be gone, and what is held out must not change by that.
        if self.contents is not None:
            return splits
        try:
            self.contents = contents_of(splits)
        except InputError:
            if recheck:
                raise
            return self.load_data(recheck=True)
        self.known_by = self._known_by(splits)
        again = self.selection()
        if again == selection:
            return splits
        del splits  # there may be no room for both
        seen = ", and the same labels are seen" if "labeled" in again else ""
        self.say(
            f"data     {self.config.dataset} holds the images of an earlier run, from another place: what was held out "
            f"then is held out again{seen}"
        )
        return checks.load_data(self.config, **again)

    def _known_by(self, splits):
        """By what `selection` knows the data again; None where nobody is judged by images out of those to train on."""
        own_split = splits.evaluation is not None and not splits.held_out
        if not splits.train.has_labels or own_split:
            return None
        # A run that goes on keeps to what it was when it began, whatever has come to the data or gone.
        began = self.run_dir.read_json(SPLIT) if steps_in(self.run_dir.checkpoints) else self.contents
        return (began or {}).get("contents")

    def check_data(self, splits):
        """Raises InputError where the data does not suit the stage."""
        checks.check_batch_fits(self.config, splits.train)

    @property
    def num_examples(self):
        """Images of an epoch."""
        return self.splits.train.num_examples

    def extractor(self, model, *endpoints):
        """Returns the Extractor of these endpoints that the config asks for."""
        config = self.config
        return Extractor(
            model,
            self.strategy,
            image_size=config.image_size,
            batch_size=checks.eval_batch_size(config),
            endpoints=endpoints,
        )

    def facts(self, model, evaluation):
        """What every result tells: what was done, with which network, on what data and where.

        Args:
            model: SimCLRModel. evaluation: the source it was judged by, or None.
        """
        config = self.config
        return {
            "mode": self.MODE,
            "finished": True,
            "version": __version__,
            "model": config.model,
            "parameters": model.encoder.count_params(),
            "dataset": config.dataset,
            "contents": self.contents["contents"],
            "image_size": config.image_size,
            "training_images": self.splits.train.num_examples,
            "evaluation_images": 0 if evaluation is None else evaluation.num_examples,
            "devices": strategies.describe(self.strategy, self.policy),
            "seed": config.seed,
            "epochs": getattr(config, "epochs", None),
            "unreadable_images": len(self.splits.unreadable),
        }

    def make_learner(self):
        """Returns the compiled Learner, made under the strategy, and its learning rate by step.

        Sets `architecture`.
        """
        raise NotImplementedError

    def make_batches(self):
        """Returns the function of (first step, steps, input context) to batches that `loop.train` wants."""
        raise NotImplementedError

    def introduction(self):
        """Returns the lines that say what is about to be trained."""
        raise NotImplementedError

    def begin(self, first_step):
        """Draws and measures what belongs before training; returns the function of the epoch to a dict of figures."""
        raise NotImplementedError

    def end(self, history):
        """Draws and measures what belongs after training; returns the result, as result.json will hold it."""
        raise NotImplementedError

    def say_result(self, result):
        """Prints how good the result is."""
        raise NotImplementedError

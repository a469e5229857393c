"""A stage that trains a network: learner, loop, checkpoints and history between `begin` and `end`."""

import sys
from collections.abc import Iterable
from typing import Any

import keras

from simclr_keras.errors import DivergedError, InputError
from simclr_keras.formatting import counted, millions
from simclr_keras.models.backbone_names import is_backbone
from simclr_keras.models.batch_norm import use_local_statistics
from simclr_keras.models.freezing import count_frozen, freeze_batch_norm
from simclr_keras.models.remat import enable_remat
from simclr_keras.runs.checkpoints import Checkpoints, steps_in
from simclr_keras.runs.history import History
from simclr_keras.runs.run_files import METRICS
from simclr_keras.training.engine import checks, introduction, loop
from simclr_keras.training.engine.learning import Problem
from simclr_keras.training.stages.base import Stage
from simclr_keras.training.stages.judging import near_duplicates


def set_up_layers(model: keras.Model, config: Any, trained_parts: Iterable[str]) -> None:
    """Make a model's layers follow the config; to be called before `compile`.

    Args:
        model: a SimCLRModel.
        config: with remat, global_bn and freeze_batch_norm.
        trained_parts: the parts of the model that start from trained weights, if any do.
    """
    if config.remat:
        enable_remat(model)
    if not config.global_bn:
        use_local_statistics(model)
    if config.freeze_batch_norm:
        freeze_batch_norm(*(getattr(model, name) for name in trained_parts))


def backbone_arguments(config: Any) -> dict:
    """Return how a keras: or hub: backbone starts, which is no part of its architecture; empty for other models."""
    if not is_backbone(config.model):
        return {}
    return {"backbone_weights": config.backbone_weights, "backbone_trainable": not config.freeze_backbone}


class TrainingStage(Stage):
    """A Stage with a learner. A subclass sets COLUMNS and defines the hooks at the end.

    Attributes:
        COLUMNS: of metrics.csv, to which a float16 run adds those of its LossScale.
        learner, schedule: the compiled Learner, and the learning rate by step.
        architecture: the Architecture of the learner's network; `make_learner` sets it.
        history: History.
    """

    COLUMNS: tuple[str, ...]
    FILES: tuple[str, ...] = ("curves.png", METRICS)

    def finished_result(self):
        result = self.run_dir.finished(self.config)
        return result.to_json() if result else None

    def check_config(self):
        replicas = self.strategy.num_replicas_in_sync
        checks.check_batch_divides(self.config, replicas)
        checks.check_same_replicas(self.run_dir, self.config, replicas)

    def check_data(self):
        checks.check_warmup(self.config, self.num_examples)

    @property
    def less_memory(self):
        if "remat" not in vars(self.config) or self.config.remat or is_backbone(self.config.model):
            return ""
        return "repeat the command with --remat, which needs less; or "

    def execute(self):
        config, run_dir = self.config, self.run_dir
        self.stop.all_saved()
        resumed = bool(steps_in(run_dir.checkpoints))
        if resumed:
            config_record = run_dir.read_config()
            self.check_lineage(config_record.ancestors if config_record else None)
            self.check_hosts(config_record)
        self.data.bind(resumed, self.count_epoch_images())
        # After the data: preparing it may draw from Python's generator, which initializers take their seeds from.
        keras.utils.set_random_seed(config.seed)
        self.learner, self.schedule = self.make_learner()
        if self.hosts.is_chief:
            checks.check_space(run_dir, self.learner.state(), config)
        checkpoints = Checkpoints(
            run_dir.checkpoints, self.learner.state(), config.keep_checkpoints, writes=self.hosts.is_chief
        )
        first_step = checkpoints.restore(self.say)
        self.hosts.check_same({f"the newest checkpoint in --model_dir={config.model_dir}": first_step})
        # After the refusals: the directory may hold another stage, or a longer run.
        run_dir.bind(self.MODE, config, **self.ancestry())
        run_dir.write_architecture(self.architecture)
        self.stop.all_saved(f"step {first_step} is saved" if first_step else None)
        scale = self.learner.loss_scale
        columns = self.COLUMNS if scale is None else (*self.COLUMNS, *scale.figures())
        self.history = History(run_dir, columns, first_step)
        for line in self.introduction():
            self.say(line)
        self.say(f"run      {config.model_dir}" + (f", continued at step {first_step}" if first_step else ""))
        sys.stdout.flush()
        evaluate = self.begin(first_step)
        try:
            loop.train(
                self.learner,
                self.strategy,
                self.make_batches(),
                config=config,
                num_examples=self.num_examples,
                checkpoints=checkpoints,
                history=self.history,
                schedule=self.schedule,
                first_step=first_step,
                evaluate=evaluate,
                stop=self.stop,
                hosts=self.hosts,
                say=self.say,
                at_last_step=self.finish_weights,
                chance_of=self.chance_of,
                problem_of=self.problem_of,
            )
        except DivergedError:
            self.history.write()  # the epochs that show it
            raise
        self.history.close()
        result, problem = self.end(), self.problem_of(self.history.rows[-1])
        if problem:
            result |= {"problem": problem.name, "warnings": [*result["warnings"], problem.advice]}
        count, warnings = near_duplicates(self.splits.train, self.splits.evaluation)
        return {
            **result,
            "near_duplicates": count or None,
            "warnings": [*result["warnings"], *warnings],
            "ancestors": self.lineage(),
            "missing_images": len(self.splits.missing),
            "extended_from": run_dir.extended_from(),
        }

    def ancestry(self):
        replicas = self.strategy.num_replicas_in_sync if self.config.depends_on_replicas else None
        streamed = not self.splits.train.indexed and self.hosts.count > 1
        return {**super().ancestry(), "replicas": replicas, "hosts": self.hosts.count if streamed else None}

    def introduction(self):
        first, *rest = super().introduction()
        yield f"{first}, encoder of {millions(self.learner.model.encoder.count_params())} parameters"
        yield from rest
        yield f"steps    {introduction.describe_steps(self.config, self.schedule)}"
        replicas, frozen = self.strategy.num_replicas_in_sync, count_frozen(self.learner.model)
        if ways := introduction.ways_of_steps(self.config, replicas, frozen):
            yield f"steps    {ways}"

    @property
    def num_examples(self) -> int:
        """Return the number of images of an epoch; the one that the run began with, even if images are missing now."""
        return self.data.epoch_images or self.count_epoch_images()

    def check_hosts(self, config_record) -> None:
        """Raise InputError if a run on a stream is resumed on another number of hosts, which see other batches."""
        before = (config_record and config_record.hosts) or 1
        if not self.splits.train.indexed and before != self.hosts.count:
            raise InputError(
                f"--model_dir={self.config.model_dir} was trained on {counted(before, 'host')}, and the order of "
                f"the records of --dataset={self.config.dataset} depends on the number of hosts, now "
                f"{self.hosts.count}; use {before} again, or give another --model_dir."
            )

    # Hooks, in the order in which `execute` uses them.

    def count_epoch_images(self) -> int:
        """Return the number of images of an epoch."""
        return self.splits.train.num_examples

    def make_learner(self):
        """Return the compiled Learner, made under the strategy, and its learning rate by step.

        Sets `architecture`.
        """
        raise NotImplementedError

    def begin(self, first_step: int):
        """Draw and measure what belongs before training; return `evaluate` of `loop.train`."""
        raise NotImplementedError

    def make_batches(self):
        """Return the function of (first step, steps, input context) to batches for `loop.train`."""
        raise NotImplementedError

    def finish_weights(self) -> None:
        """Change the learner after its last step, before it is saved; a second call must change nothing."""

    def chance_of(self, epoch: int) -> dict[str, float]:
        """Return the loss of guessing in an epoch, as a dict of its column of metrics.csv."""
        raise NotImplementedError

    def problem_of(self, row: dict) -> Problem | None:
        """Return the Problem that the figures of an epoch show, a row of metrics.csv, or None."""
        raise NotImplementedError

    def end(self) -> dict:
        """Draw and measure what belongs after training; return the result."""
        raise NotImplementedError

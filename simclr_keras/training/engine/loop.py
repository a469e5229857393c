"""The training loop over strategy.run(learner.train_step), the same on one device and on many hosts."""

import contextlib
import sys
import time

import tensorflow as tf

from simclr_keras.errors import DivergedError
from simclr_keras.hosts import Hosts
from simclr_keras.training.engine.epochs import epoch_ends, warmup_steps
from simclr_keras.training.engine.learning import check_weights, read_figures
from simclr_keras.training.engine.progress import Bar, epoch_line

EVALUATIONS = 10  # per run, if --eval_every_epochs is 0
SAVED_SECONDS = 10.0  # least time between checkpoints at ends of epochs that are not evaluated
UNSETTLED = 0.1  # share of the epochs whose figures show no problem yet
ONE_HOST = Hosts()
LINE_SECONDS = 5.0  # least time between lines of epochs that are not evaluated: they may be a step long


def make_step_function(learner, strategy, stop, hosts=ONE_HOST):
    """Return a function (iterator, count) that takes `count` training steps inside one graph call.

    The loop over steps stays in the graph, so an accelerator does not wait for Python; batches are drawn inside it
    with their static shapes (Keras' own steps_per_execution loses them under replicas). If `stop` is requested, the
    call ends after the current step; with several hosts, which must all take the same steps, after all of them. The
    function returns how many steps were taken, and marks in `stop` that there is something to save.
    """
    with tf.device("CPU:0"):
        stopped = tf.Variable(False, trainable=False)
    if hosts.count == 1:
        stop.on_request(lambda: stopped.assign(True))

    def one_step(iterator):
        strategy.run(learner.train_step, args=(next(iterator),))

    @tf.function(autograph=False, reduce_retracing=True)
    def take_steps(iterator, count):
        def body(done):
            one_step(iterator)
            return done + 1

        def more(done):
            return (done < count) & ((done == 0) | ~stopped)

        return tf.while_loop(more, body, [tf.constant(0)], parallel_iterations=1)

    @tf.function(autograph=False, reduce_retracing=True)
    def take_one(iterator):
        one_step(iterator)

    traced = set()

    def run(iterator, count):
        # A loop of one would still pay for the loop.
        function, arguments = (
            (take_one, (iterator,)) if count == 1 else (take_steps, (iterator, tf.constant(count)))
        )
        if function not in traced:
            # Traced separately: it takes long, and a stop meanwhile loses nothing.
            function.get_concrete_function(*arguments)
            traced.add(function)
        stop.nothing_to_save = False
        done = function(*arguments)
        # Read only if it may be less: reading waits for the device.
        return int(done[0]) if stop.requested and count > 1 and hosts.count == 1 else count

    return run


def train(
    learner,
    strategy,
    batches,
    *,
    config,
    num_examples,
    checkpoints,
    history,
    schedule,
    first_step,
    evaluate,
    stop,
    hosts=ONE_HOST,
    say=print,
    at_last_step=lambda: None,
    chance_of=lambda epoch: {},
    problem_of=lambda row: None,
):
    """Train from `first_step` to the end of the run, with a row of metrics after every epoch.

    Args:
        learner: a compiled Learner.
        strategy: the tf.distribute strategy it was made under.
        batches: function of (first step, number of steps, tf.distribute.InputContext) to a dataset of per-replica
            batches.
        config: of a stage that trains.
        num_examples: training images.
        checkpoints: Checkpoints.
        history: History, cut back to `first_step`.
        schedule: learning rate by step.
        first_step: steps already taken.
        evaluate: function of the epoch to a dict of scores, called every --eval_every_epochs and after the last
            epoch; None if there is nothing to evaluate.
        stop: signals.Stop.
        hosts: Hosts. What depends on time or signals is decided for all of them together.
        say: prints a line.
        at_last_step: called after the last step of the run, before it is saved; a second call must change nothing.
        chance_of: function of the epoch to a dict of the loss of guessing, for the row of the epoch.
        problem_of: function of a row of metrics.csv to a Problem or None; the first one is printed.

    Raises:
        TrainingError: loss or weights are no longer finite; nothing after the last good checkpoint is kept.
        Stopped: the program was asked to stop; the current step is saved.
        tf.errors.OpError: a batch could not be read. Replicas may have taken different numbers of steps since the
            last checkpoint: resume from there.
    """
    ends = epoch_ends(config, num_examples)
    epochs = len(ends) - 1
    every = config.eval_every_epochs or max(epochs // EVALUATIONS, 1)
    if first_step >= ends[-1] and history.has(epochs):
        return
    missing = [
        epoch for epoch, end in enumerate(ends) if epoch and end < first_step and not history.has(epoch)
    ]
    if missing:
        say(f"metrics.csv has no rows of epochs {missing[0]} to {missing[-1]}; continuing without them")
    take_steps = make_step_function(learner, strategy, stop, hosts)
    is_alone = hosts.count == 1  # one that need not agree on a stop
    iterator = iter(
        strategy.distribute_datasets_from_function(
            lambda context: batches(first_step, ends[-1] - first_step, context)
        )
    )
    step, clock, printed_at = first_step, Clock(config.batch_size), -LINE_SECONDS
    warmup_epochs = warmup_steps(config, num_examples) * config.batch_size / num_examples
    settled, warned = max(UNSETTLED * epochs, warmup_epochs), False
    saves = _Saves(learner, checkpoints, history, config, first_step)
    for epoch in range(1, epochs + 1):
        start, end = ends[epoch - 1], ends[epoch]
        if end < first_step or history.has(epoch):
            continue
        if step == start:
            learner.reset_metrics()
        title = f"epoch {epoch}/{epochs}"
        figures = read_figures(learner, step) if step == end else None  # of a run killed before this row
        bar = Bar(title, end - start, step - start, config.batch_size, hidden=not hosts.is_chief)
        with contextlib.closing(bar):
            while step < end:
                count = min(config.steps_per_execution, end - step, saves.steps_until_due(step))
                clock.start()
                taken = take_steps(iterator, count)
                step += taken
                due, shown, stopping = hosts.largest(
                    step < end and saves.due(step), hosts.is_chief and bar.due(), stop.requested
                )
                if shown or due or step == end or stopping:
                    # Waits for the device, so it is part of the time of the steps.
                    figures = read_figures(learner, step)
                clock.stop(taken)
                bar.advance(taken)
                if shown:
                    bar.show(figures, float(schedule(step)), clock.left(ends[-1] - step))
                if step == ends[-1]:
                    at_last_step()
                if due or stopping or (is_alone and stop.requested):
                    saves.save(step)
                    hosts.wait()  # for the chief, which writes
                    if stopping or (is_alone and stop.requested):
                        stop.leave(f"step {step} is saved", stopping)
        evaluated = evaluate is not None and (epoch % every == 0 or epoch == epochs)
        (long_ago,) = hosts.largest(saves.long_ago())
        if evaluated or epoch == epochs or long_ago:
            # Before the evaluation, which may take long: a run killed in it resumes there.
            saves.save(step)
            hosts.wait()
            stop.all_saved(f"step {step} is saved")
        row = {"epoch": epoch, "step": step, "learning_rate": float(schedule(step - 1)), **figures}
        row |= {"skipped_batches": learner.skipped[0], "images_per_second": clock.take_rate()}
        row |= chance_of(epoch) | (learner.loss_scale.figures() if learner.loss_scale else {})
        clock.start()
        try:
            scores = evaluate(epoch) if evaluated else {}
        except DivergedError:
            # Its weights are finite, the network's outputs are not.
            checkpoints.forget(step, unless_only=True)
            raise
        if evaluated:
            clock.stop_evaluation()
        row |= scores
        history.add(row)
        if scores or epoch in (1, epochs) or time.monotonic() - printed_at >= LINE_SECONDS:
            history.write()
            evaluations = sum(later % every == 0 or later == epochs for later in range(epoch + 1, epochs + 1))
            left = clock.left(ends[-1] - step, evaluations if evaluate else 0)
            say(epoch_line(row, epochs, left if epoch < epochs else None))
            printed_at = time.monotonic()
            if not warned and settled < epoch < epochs and (problem := problem_of(row)):
                say(f"warning  {problem.advice}")
                warned = True
            sys.stdout.flush()


class _Saves:
    """Saves checkpoints of finite weights, every so many steps or minutes; before each, the rows up to it."""

    def __init__(self, learner, checkpoints, history, config, first_step):
        self._learner = learner
        self._checkpoints = checkpoints
        self._history = history
        self._every = config.checkpoint_every_steps
        self._seconds = config.checkpoint_every_minutes * 60 or float("inf")
        self._saved_step = first_step
        self._saved_at = time.monotonic()

    def steps_until_due(self, step):
        return self._every - step % self._every if self._every else sys.maxsize

    def due(self, step):
        return (self._every and step % self._every == 0) or time.monotonic() - self._saved_at >= self._seconds

    def long_ago(self):
        """Return whether the end of an epoch, which may be a step or two long, needs a checkpoint."""
        return time.monotonic() - self._saved_at >= SAVED_SECONDS

    def save(self, step):
        if step != self._saved_step:
            self._history.write()
            check_weights(self._learner, step)
            self._checkpoints.save(step)
        self._saved_step, self._saved_at = step, time.monotonic()


class Clock:
    """Measures images per second, without evaluation and without the calls that trace a graph.

    Those are the first call of one step and the first of several, see `make_step_function`.
    """

    def __init__(self, batch_size):
        self._batch_size = batch_size
        self._traced = set()
        self._started = 0.0
        self._epoch = [0.0, 0]  # seconds, steps
        self._run = [0.0, 0]
        self._evaluation = 0.0  # seconds of the last one

    def start(self):
        """Begin a call of some steps, or an evaluation."""
        self._started = time.perf_counter()

    def stop(self, steps):
        """End a call of so many steps."""
        seconds = time.perf_counter() - self._started
        graph = min(steps, 2)
        if graph not in self._traced:
            self._traced.add(graph)
            return
        for total in (self._epoch, self._run):
            total[0] += seconds
            total[1] += steps

    def stop_evaluation(self):
        """End an evaluation."""
        self._evaluation = time.perf_counter() - self._started

    def take_rate(self):
        """Return images per second since the last call; None if nothing was timed."""
        seconds, steps = self._epoch
        self._epoch = [0.0, 0]
        return round(steps * self._batch_size / seconds, 1) if steps else None

    def left(self, steps, evaluations=0):
        """Return the seconds of so many more steps and evaluations; None before a step was timed."""
        seconds, taken = self._run
        return seconds / taken * steps + self._evaluation * evaluations if taken else None

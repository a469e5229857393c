"""Our training loop over strategy.run(learner.train_step): short, the same on one device and on many hosts."""

import math
import sys
import time

import tensorflow as tf

from simclr_keras.errors import TrainingError
from simclr_keras.optim.step_arithmetic import total_steps
from simclr_keras.training.progress import Bar, epoch_line


def make_step_function(learner, strategy):
    """Returns a function (iterator, count) that takes `count` training steps inside one graph call.

    The loop over steps stays in the graph, so an accelerator is not kept waiting for Python; batches are drawn inside
    it with their static shapes (Keras' own steps_per_execution loses them under replicas).
    """

    def one_step(iterator):
        strategy.run(learner.train_step, args=(next(iterator),))

    @tf.function(autograph=False, reduce_retracing=True)
    def take_steps(iterator, count):
        def body(done):
            one_step(iterator)
            return done + 1

        tf.while_loop(lambda done: done < count, body, [tf.constant(0)], parallel_iterations=1)

    @tf.function(autograph=False, reduce_retracing=True)
    def take_one(iterator):
        one_step(iterator)

    def run(iterator, count):
        # A loop of one would still pay for the loop.
        if count == 1:
            take_one(iterator)
        else:
            take_steps(iterator, tf.constant(count))

    return run


def epoch_end(epoch, num_examples, batch_size):
    """Step at which an epoch (counted from 1) ends: the length of a whole run of so many epochs.

    The release ends every epoch after round(num_examples / batch_size) steps, so that the last of its epochs may be
    missing or cut; these ends share the run out evenly and the last one is the run's.
    """
    return total_steps(num_examples, batch_size, epoch) if epoch > 0 else 0


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
    say=print,
):
    """Trains from `first_step` to the end of the run: a row of metrics and a checkpoint at every epoch's end.

    Args:
        learner: a compiled Learner.
        strategy: the tf.distribute strategy it was made under.
        batches: function of (first step, number of steps, tf.distribute.InputContext) to a dataset of per-replica
            batches.
        config: has epochs, batch_size, steps_per_call, checkpoint_steps.
        num_examples: training images.
        checkpoints: Checkpoints.
        history: History, cut back to `first_step`.
        schedule: learning rate by step.
        first_step: steps already taken.
        evaluate: function of the epoch (from 1) to a dict of figures, empty where it is not its turn.
        say: prints a line.

    Raises:
        TrainingError: loss or weights are no longer finite; nothing after the last good checkpoint is kept.
    """
    last_step = epoch_end(config.epochs, num_examples, config.batch_size)
    if first_step >= last_step:
        return
    take_steps = make_step_function(learner, strategy)
    iterator = iter(
        strategy.distribute_datasets_from_function(
            lambda context: batches(first_step, last_step - first_step, context)
        )
    )
    step, clock = first_step, Clock(config.batch_size)
    first_epoch = next(
        e for e in range(1, config.epochs + 1) if step < epoch_end(e, num_examples, config.batch_size)
    )
    for epoch in range(first_epoch, config.epochs + 1):
        start, end = (epoch_end(e, num_examples, config.batch_size) for e in (epoch - 1, epoch))
        if step == start:
            learner.reset_metrics()
        bar = Bar(f"epoch {epoch}/{config.epochs}", end - start, step - start, config.batch_size)
        while step < end:
            count = min(config.steps_per_call, end - step, _until_checkpoint(step, config.checkpoint_steps))
            clock.start()
            take_steps(iterator, count)
            step += count
            shown = bar.due()
            saved = step < end and config.checkpoint_steps and step % config.checkpoint_steps == 0
            if shown or saved or step == end:
                figures = _figures(learner)  # waits for the device, so it belongs to the time of the steps
                _check_finite(figures, step)
            clock.stop(count)
            bar.advance(count)
            if shown:
                bar.show(figures, float(schedule(step)), clock.left(last_step - step))
            if saved:
                _check_weights(learner, step)
                checkpoints.save(step)
        bar.close()
        _check_weights(learner, step)
        row = {"epoch": epoch, "step": step, "learning_rate": float(schedule(step - 1)), **figures}
        row |= {"images_per_second": clock.take_rate(), **evaluate(epoch)}
        history.add(row)
        # After the row: a kill between the two repeats the epoch's end instead of losing its row.
        checkpoints.save(step)
        say(epoch_line(row, config.epochs))
        sys.stdout.flush()


class Clock:
    """Images per second of the steps alone: without evaluation, and without the calls that trace a graph.

    Those are the first of one step and the first of several, see `make_step_function`.
    """

    def __init__(self, batch_size):
        self._batch_size = batch_size
        self._traced = set()
        self._started = 0.0
        self._epoch = [0.0, 0]  # seconds, steps
        self._run = [0.0, 0]

    def start(self):
        self._started = time.perf_counter()

    def stop(self, steps):
        """Ends a call of so many steps."""
        seconds = time.perf_counter() - self._started
        graph = min(steps, 2)
        if graph not in self._traced:
            self._traced.add(graph)
            return
        for total in (self._epoch, self._run):
            total[0] += seconds
            total[1] += steps

    def take_rate(self):
        """Images per second since this was last asked; None when nothing was timed."""
        seconds, steps = self._epoch
        self._epoch = [0.0, 0]
        return round(steps * self._batch_size / seconds, 1) if steps else None

    def left(self, steps):
        """Seconds that so many more steps take; None before anything was timed."""
        seconds, taken = self._run
        return seconds / taken * steps if taken else None


def _until_checkpoint(step, every):
    return every - step % every if every else sys.maxsize


def _figures(learner):
    return {name: float(value) for name, value in learner.get_metrics_result().items()}


def _check_finite(figures, step):
    # The losses first: they say most.
    for name, value in sorted(figures.items(), key=lambda item: not item[0].endswith("loss")):
        if not math.isfinite(value):
            raise _diverged(f"{name} became {value}", step)


def _check_weights(learner, step):
    """Weights too, because the loss may hide it: TensorFlow's fused normalization and ReLU turns NaN into 0."""
    for name, variable in learner.state().items():
        value = tf.convert_to_tensor(variable)
        if value.dtype.is_floating and not tf.reduce_all(tf.math.is_finite(value)):
            raise _diverged(f"{name} is no longer finite", step)


def _diverged(what, step):
    return TrainingError(
        f"{what} by step {step}; checkpoints up to here are kept. Try a lower --learning_rate, a longer "
        "--warmup_epochs or --precision=float32."
    )

"""The loop with fakes all around it: a learner that counts, a recorder of what was saved and said."""

import types

import tensorflow as tf

from simclr_keras.training.engine import loop
from simclr_keras.training.engine.signals import Stop

STRATEGY = tf.distribute.get_strategy()


class CountingLearner:
    """Counts its steps; its loss is the batch, averaged since the last reset."""

    skipped = (0, 0)
    loss_scale = None
    model = types.SimpleNamespace(encoder=types.SimpleNamespace(compute_dtype="bfloat16"))

    def __init__(self):
        self.steps = tf.Variable(0, dtype=tf.int64)
        self.last = tf.Variable(-1, dtype=tf.int64)
        self.sum, self.count = tf.Variable(0.0), tf.Variable(0.0)
        self.weight = tf.Variable([1.0, 1.0])

    def train_step(self, batch):
        self.steps.assign_add(1)
        self.last.assign(batch["step"])
        self.sum.assign_add(batch["loss"])
        self.count.assign_add(1.0)

    def state(self):
        return {"model/weight": self.weight, "optimizer/iteration": self.steps}

    def reset_metrics(self):
        self.sum.assign(0.0)
        self.count.assign(0.0)

    def figures(self):
        return {"contrastive_loss": float(self.sum / self.count), "contrastive_accuracy": 0.5}


class Recorder:
    """Stands for Checkpoints, History and say, and writes down in which order they were called."""

    def __init__(self):
        self.events = []
        self.rows = []

    def has(self, epoch):
        return any(row["epoch"] == epoch for row in self.rows)

    def forget(self, step, unless_only):
        assert unless_only
        self.events.append(("forget", step))

    def save(self, step):
        self.events.append(("save", step))

    def write(self):
        pass

    def add(self, row):
        self.events.append(("row", row["step"]))
        self.rows.append(row)

    def say(self, line):
        self.events.append(("say", line.split("  ")[0]))


def train(
    first_step=0,
    loss=lambda step: step,
    learner=None,
    recorder=None,
    stop=None,
    evaluate=lambda epoch: {"knn_top1": epoch / 10},
    problem_of=lambda row: None,
    hosts=loop.ONE_HOST,
    **settings,
):
    """Run the loop over batches of 8 that contain their step, with fakes for everything else.

    Args:
        evaluate: function of the epoch to scores, or None.
    """
    values = {
        "epochs": 2,
        "train_steps": None,
        "batch_size": 8,
        "eval_every_epochs": 1,
        "steps_per_execution": 1,
        "checkpoint_every_steps": 0,
        "checkpoint_every_minutes": 0,
        "warmup_epochs": None,
        "warmup_length": 0.0,
    }
    values |= settings

    def batches(first, count, context):
        steps = tf.range(first, first + count, dtype=tf.int64)
        losses = [float(loss(step)) for step in range(first, first + count)]
        return tf.data.Dataset.from_tensor_slices({"step": steps, "loss": losses})

    recorder = recorder or Recorder()
    loop.train(
        learner or CountingLearner(),
        STRATEGY,
        batches,
        config=types.SimpleNamespace(**values),
        num_examples=40,
        checkpoints=recorder,
        history=recorder,
        schedule=lambda step: step / 100,
        first_step=first_step,
        evaluate=evaluate,
        stop=stop or Stop(),
        hosts=hosts,
        say=recorder.say,
        problem_of=problem_of,
    )
    return recorder

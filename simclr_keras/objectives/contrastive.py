"""ContrastiveLearner: NT-Xent on the projections of two views, with an online linear probe behind a stop-gradient."""

import itertools
import numbers

import numpy as np
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.formatting import counted
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.objectives.classification import labeled_loss
from simclr_keras.objectives.gradient_caching import cached_gradients
from simclr_keras.objectives.learner import Learner, check_batch
from simclr_keras.objectives.momentum import Momentum, gather_keys
from simclr_keras.objectives.nt_xent import NTXent, nt_xent
from simclr_keras.replicas import mean_rows, num_replicas, number_of_rows

FIGURES = ("contrastive_loss", "contrastive_accuracy", "contrastive_entropy")  # in the order of NTXent
PROBE_FIGURES = ("probe_loss", "probe_accuracy")
EVALUATION_STEP = -1  # of the augmentation: no step of training


class ContrastiveLearner(Learner):
    """Pretrain a model with `nt_xent` on two views of each image.

    If the model has a classifier, it is trained as an online linear probe on both views. It must be behind a
    stop-gradient (`create_model(..., stop_gradient=True)`), and `compile` needs a `probe_optimizer`.

    With memory="queue", projections are contrasted against those of a momentum network, of the same images and of past
    batches; see `Momentum` and `nt_xent`. Each step appends to the queue after its loss, and updates the momentum
    network after the optimizer. `evaluate` changes neither.

    Letters: b = examples, h and w = height and width in pixels. The batch is a dict with "views" [b, 2, h, w, 3]
    (uint8, or float in [0, 1] without `augment`) and, for the probe, integers "label" [b], -1 if unknown. With memory,
    integers "id" [b] keep past views of an example from being its negatives. They may be missing, and an id below 0 is
    unknown. Metrics: contrastive_loss (also as `loss`) and contrastive_entropy in nats, contrastive_accuracy in [0, 1],
    probe_loss, probe_accuracy.

    Source: SimCLRv2, arXiv 2006.10029, section 2.

    >>> import numpy as np
    >>> from simclr_keras import ContrastiveLearner, create_model
    >>> learner = ContrastiveLearner(create_model("r18_0.125x_sk0", image_size=8))
    >>> learner.compile("sgd")
    >>> views = np.random.default_rng(0).uniform(size=[4, 2, 8, 8, 3]).astype("float32")
    >>> sorted(learner.train_step({"views": views}))
    ['contrastive_accuracy', 'contrastive_entropy', 'contrastive_loss', 'loss']

    Args:
        model: a built SimCLRModel.
        temperature: temperature of NT-Xent, above 0.
        memory: "none", or "queue" for a momentum network.
        ema_decay, memory_size: of the momentum network and its queue; None for the defaults of `Momentum`.
        microbatch_size: examples of the global batch whose activations are in memory at a time (gradient caching,
            docs/big_batches.md). It divides the batch and is a multiple of the number of replicas. All examples
            stay negatives of each other; batch normalization sees a micro-batch. None: the batch is undivided.
            `augment` is then called with a third argument, `position`: the row of its first example in the global
            batch, and the size of that batch.
        **learner_arguments: augment, weight_decay, decayed_in_loss, on_nan of `Learner`.

    Raises:
        InputError: the model's classifier is not behind a stop-gradient, an argument is out of its range, or a
            subclass with microbatch_size overrides `objective`; in a step, if microbatch_size does not divide the
            batch.

    Attributes:
        momentum: the `Momentum`, None without memory.
    """

    VIEWS = 2

    def __init__(
        self,
        model: SimCLRModel,
        *,
        temperature: float = 0.1,
        memory: str = "none",
        ema_decay: float | None = None,
        memory_size: int | None = None,
        microbatch_size: int | None = None,
        name: str = "contrastive",
        **learner_arguments,
    ):
        if memory not in ("none", "queue"):
            raise InputError(f"memory must be 'none' or 'queue'. Received: memory={memory!r}")
        of_memory = {"ema_decay": ema_decay, "memory_size": memory_size}
        of_memory = {name: value for name, value in of_memory.items() if value is not None}
        if of_memory and memory == "none":
            raise InputError(
                f"without memory='queue' there is no {' and '.join(of_memory)}. Received: {of_memory}"
            )
        if model.classifier is not None and not model.stop_gradient:
            raise InputError(
                "The classifier must be a probe that leaves the encoder alone: create_model(..., stop_gradient=True). "
                "Received: a model with stop_gradient=False"
            )
        is_number = isinstance(microbatch_size, numbers.Integral)
        if microbatch_size is not None and not (is_number and microbatch_size >= 1):
            raise InputError(
                "microbatch_size must be a whole number, 1 or more, or None. "
                f"Received: microbatch_size={microbatch_size}"
            )
        if microbatch_size is not None and type(self).objective is not ContrastiveLearner.objective:
            raise InputError(
                "microbatch_size does not use `objective`: override `loss_of` instead, or leave microbatch_size out. "
                f"Received: microbatch_size={microbatch_size} and {type(self).__name__}.objective"
            )
        figures = FIGURES if model.classifier is None else (*FIGURES, *PROBE_FIGURES)
        super().__init__(model, figures=figures, name=name, **learner_arguments)
        self.temperature = temperature
        self.momentum = Momentum(model, **of_memory) if memory == "queue" else None
        self.microbatch_size = microbatch_size
        self._refusal = None  # the message of `load_own_variables`

    @property
    def probe_variables(self) -> list:
        return [] if self.model.classifier is None else self.model.classifier.trainable_variables

    @property
    def endpoints(self) -> list[str]:
        """Return the names of the model's outputs on which the loss depends."""
        projections = f"proj_head_{self.model.projection_head.depth}"
        return [projections] if self.model.classifier is None else [projections, "logits"]

    def objective(self, batch: dict, training: bool = True) -> tuple[tf.Tensor, dict]:
        self._check_batch(batch)
        # Evaluation has the same colors each time, so that its losses can be compared.
        images = self.images(batch["views"], 2, None if training else EVALUATION_STEP)
        outputs = self.model(images, training=training) | self.momentum_outputs(images, training)
        return self.loss_of(outputs, batch, training)

    def momentum_outputs(self, images: tf.Tensor, training: bool = True) -> dict:
        """Return {"keys": projections of the momentum network [2b, d]}, without a gradient; {} without memory."""
        return {} if self.momentum is None else {"keys": self.momentum.projections(images, training)}

    def loss_of(self, outputs: dict, batch: dict, training: bool = True) -> tuple[tf.Tensor, dict]:
        """Return loss and figures as `objective` does.

        Args:
            outputs: dict of `endpoints` and `momentum_outputs`, [2b, d] each, first views first.
            batch: with "label" if the model has a classifier.
            training: False leaves the queue as it is.
        """
        first, second = tf.split(outputs[self.endpoints[0]], 2)
        contrastive = self.contrast(first, second, outputs.get("keys"), batch.get("id"), training)
        count = tf.cast(mean_rows(number_of_rows(first)), first.dtype)
        figures = {name: (value * count, count) for name, value in zip(FIGURES, contrastive)}
        if self.model.classifier is None:
            return contrastive.loss, figures
        labels = tf.concat([batch["label"], batch["label"]], axis=0)
        probe_loss, probe_figures = labeled_loss(outputs["logits"], labels, PROBE_FIGURES)
        return contrastive.loss + probe_loss, figures | probe_figures

    def loss_and_gradients(self, batch: dict) -> tuple[tf.Tensor, dict, list]:
        self._check_batch(batch)
        rows = self._microbatch_rows(batch["views"].shape[0])
        return cached_gradients(self, batch, rows) if rows else super().loss_and_gradients(batch)

    def contrast(
        self,
        first: tf.Tensor,
        second: tf.Tensor,
        keys: tf.Tensor | None = None,
        ids: tf.Tensor | None = None,
        training: bool = True,
    ) -> NTXent:
        """Return the contrastive loss of this replica's projections; in training, append the keys to the queue.

        Args:
            first, second: [b, d] of the model, the projections of first and second views.
            keys: [2b, d] of the momentum network for the same views, first ones first; None without memory.
            ids: int [b], ids of the examples; None if they are unknown.
            training: False leaves the queue as it is.
        """
        if self.momentum is None:
            return nt_xent(first, second, temperature=self.temperature)
        global_keys, global_ids = gather_keys(keys, ids)
        queue, queue_ids = self.momentum.queue, self.momentum.queue_ids
        contrastive = nt_xent(
            first,
            second,
            temperature=self.temperature,
            keys=global_keys,
            queue=None if queue is None else tf.convert_to_tensor(queue),
            ids=global_ids,
            queue_ids=None if queue_ids is None else tf.convert_to_tensor(queue_ids),
        )
        if training:
            self.momentum.enqueue(global_keys, global_ids)
        return contrastive

    def after_update(self) -> None:
        if self.momentum is not None:
            self.momentum.update()

    def state(self) -> dict:
        return super().state() | ({} if self.momentum is None else self.momentum.state())

    def save_own_variables(self, store: dict) -> None:
        """Add momentum network and queue to what `save_weights` writes."""
        for index, variable in enumerate(self._own_state()):
            store[str(index)] = variable

    def load_weights(self, filepath: str, skip_mismatch: bool = False, **options) -> None:
        """Load what `save_weights` wrote, or leave every variable as it was.

        Raises:
            InputError: the file is of a learner with another memory or network.
        """
        self._refusal = None
        variables = [*itertools.chain(*self._groups().values()), *self._own_state()]
        before = [np.array(tf.convert_to_tensor(variable)) for variable in variables]
        try:
            super().load_weights(filepath, skip_mismatch=skip_mismatch, **options)
        except BaseException:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
            if self._refusal is not None:
                raise InputError(self._refusal) from None
            raise

    def load_own_variables(self, store: dict) -> None:
        """Load what `save_own_variables` wrote.

        Raises:
            InputError: the file is of a learner with another memory or network.
        """
        variables = self._own_state()
        stored = [tuple(store[str(index)].shape) for index in range(len(store.keys()))]
        expected = [tuple(variable.shape) for variable in variables]
        if stored != expected:
            # Keras loads the other variables before it raises an error, which has many lines.
            self._refusal = (
                "the weights were saved with another memory or network: load them into a learner with those of the "
                f"one that saved them. Received: {_difference(stored, expected)}"
            )
            raise InputError(self._refusal)
        for index, variable in enumerate(variables):
            variable.assign(store[str(index)])

    def _own_state(self):
        """Return the variables that only this learner has, neither its model nor its optimizers."""
        return [] if self.momentum is None else [*self.momentum.state().values()]

    def _check_batch(self, batch):
        check_batch(batch, ["views"] if self.model.classifier is None else ["views", "label"])

    def _microbatch_rows(self, count):
        """Return the rows of a micro-batch on this replica, which has `count` rows; None if it is undivided."""
        if self.microbatch_size is None:
            return None
        replicas = num_replicas()
        rows, rest = divmod(self.microbatch_size, replicas)
        if count is None or rest or count % rows:
            size = "an unknown number of" if count is None else count * replicas
            raise InputError(
                "microbatch_size must be a multiple of the number of replicas and divide the batch, whose size must be "
                "static (drop_remainder=True). "
                f"Received: microbatch_size={self.microbatch_size}, {size} examples, {counted(replicas, 'replica')}"
            )
        return None if rows == count else rows


def _difference(stored, expected):
    """Return in words how the shapes of saved variables of a memory differ from those of a learner."""
    words = _memory_of(stored), _memory_of(expected)
    if words[0] == words[1]:
        words = next(pair for pair in zip(stored, expected, strict=True) if pair[0] != pair[1])
        return f"a variable of shape {words[0]}, not {words[1]}"
    return f"{words[0]}, not {words[1]}"


def _memory_of(shapes):
    """Return momentum network and queue in words, from the shapes of their variables."""
    if not shapes:
        return "no memory"
    *_, rows, ids, index = [(), (), *shapes]
    if index == () and len(ids) == 1 and len(rows) == 2:
        network, queue = len(shapes) - 3, f" and a queue of {rows[0]} rows x {rows[1]}"
    else:
        network, queue = len(shapes), ""
    return f"{counted(network, 'variable')} of the momentum network{queue}"

"""How good a representation is: endpoints over a whole source, then kNN and probe figures."""

import numpy as np
import tensorflow as tf

from simclr_keras.data import pipeline
from simclr_keras.errors import DivergedError
from simclr_keras.evaluation.knn import cap_bank, knn_predict
from simclr_keras.evaluation.metrics import top_k_accuracy


class Extractor:
    """Computes endpoints of a model over whole sources, on all replicas, in order.

    Args:
        model: a SimCLRModel.
        strategy: the tf.distribute strategy the model was made under.
        image_size: side of the images the model sees.
        batch_size: global batch, rounded up to a multiple of the replicas; the last one is padded, so that shapes
            stay static.
        endpoints: names to compute.
    """

    def __init__(self, model, strategy, *, image_size, batch_size, endpoints):
        self._strategy = strategy
        self._image_size = image_size
        replicas = strategy.num_replicas_in_sync
        self._batch_size = -(-batch_size // replicas) * replicas

        def compute(batch):
            outputs = model(batch["image"], training=False)
            found = {name: tf.cast(outputs[name], tf.float32) for name in endpoints}
            return {"id": batch["id"], "label": batch["label"], **found}

        @tf.function(autograph=False)
        def step(batch):
            found = strategy.run(compute, args=(batch,))
            return {name: strategy.gather(value, axis=0) for name, value in found.items()}

        self._step, self._traced = step, False

    def __call__(self, source):
        """Runs over a source.

        Returns:
            dict of endpoint name to float32 array [n, ...], and "label" int32 [n] (-1 = unlabeled), rows in the
            source's order. A stream knows its labels only from here.

        Raises:
            DivergedError: an endpoint is not finite.
        """
        dataset = pipeline.eval_batches(
            source, image_size=self._image_size, batch_size=self._batch_size, pad=True
        )
        batches = []
        for batch in self._strategy.experimental_distribute_dataset(dataset):
            if not self._traced:
                # Apart, or TensorFlow warns of many extractors as of one function that is traced again and again.
                self._step.get_concrete_function(batch)
                self._traced = True
            found = {name: value.numpy() for name, value in self._step(batch).items()}
            real = found.pop("id") >= 0
            batches.append({name: value[real] for name, value in found.items()})
        found = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
        for name, value in found.items():
            if not np.all(np.isfinite(value)):
                raise DivergedError(
                    f"the network's {name} is no longer finite: training has diverged; what was saved before stays. "
                    "Try a lower --learning_rate or a longer --warmup_epochs in another --model_dir."
                )
        return found


class RepresentationScore:
    """Weighted kNN, and the online probe where there is one, on an evaluation split.

    Args:
        extractor: an Extractor of "final_avg_pool" (and "logits" for the probe).
        bank: Source or StreamSource of labeled images the neighbors come from.
        evaluation: Source or StreamSource with labels.
        num_classes: classes.
        k, temperature: of the kNN.
    """

    def __init__(self, extractor, bank, evaluation, *, num_classes, k, temperature):
        self._extractor = extractor
        self._bank = bank
        self._evaluation = evaluation
        self._num_classes = num_classes
        self._k = k
        self._temperature = temperature

    def __call__(self):
        """Returns a dict of knn_top1, knn_top5, probe_top1, probe_top5 in [0, 1]; top-5 is 1 up to 5 classes."""
        bank = self._extractor(self._bank)
        outputs = self._extractor(self._evaluation)
        votes = knn_predict(
            bank["final_avg_pool"],
            bank["label"],
            outputs["final_avg_pool"],
            num_classes=self._num_classes,
            k=self._k,
            temperature=self._temperature,
        )
        scores = {"knn": votes}
        if "logits" in outputs:
            scores["probe"] = outputs["logits"]
        return {
            f"{name}_top{k}": float(top_k_accuracy(values, outputs["label"], k))
            for name, values in scores.items()
            for k in (1, 5)
        }


def knn_bank(source, limit, seed):
    """Returns the labeled rows of a source, at most `limit` of them: a seeded choice, stratified where any row can be
    fetched; out of as few files as hold them from a StreamSource.
    """
    if not source.indexed:
        return source.sample(limit, seed)
    rows = cap_bank(source.num_examples, source.labels, limit, seed)
    # A subset copies the images it holds, so none is made of everything.
    return source if len(rows) == len(source) else source.subset(rows)

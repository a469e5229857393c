"""How good a representation is: endpoints over a whole source, then kNN and probe figures."""

import numpy as np
import tensorflow as tf

from simclr_keras.data import pipeline
from simclr_keras.evaluation.knn import cap_bank, knn_predict
from simclr_keras.evaluation.metrics import top_k_accuracy


class Extractor:
    """Computes endpoints of a model over whole sources, on all replicas, in order.

    Args:
        model: a SimCLRModel.
        strategy: the tf.distribute strategy the model was made under.
        image_size: side of the images the model sees.
        batch_size: global batch; the last one is padded, so that shapes stay static.
        endpoints: names to compute.
    """

    def __init__(self, model, strategy, *, image_size, batch_size, endpoints):
        self._strategy = strategy
        self._image_size = image_size
        self._batch_size = batch_size
        self._endpoints = endpoints

        def compute(batch):
            outputs = model(batch["image"], training=False)
            return batch["id"], {name: tf.cast(outputs[name], tf.float32) for name in endpoints}

        @tf.function(autograph=False)
        def step(batch):
            ids, outputs = strategy.run(compute, args=(batch,))
            gather = lambda value: strategy.gather(value, axis=0)  # noqa: E731
            return gather(ids), {name: gather(value) for name, value in outputs.items()}

        self._step = step

    def __call__(self, source):
        """Returns a dict of endpoint name to float32 array [n, ...], rows in the source's order."""
        dataset = pipeline.eval_batches(
            source, image_size=self._image_size, batch_size=self._batch_size, pad=True
        )
        found = {name: [] for name in self._endpoints}
        for batch in self._strategy.experimental_distribute_dataset(dataset):
            ids, outputs = self._step(batch)
            real = ids.numpy() >= 0
            for name, value in outputs.items():
                found[name].append(value.numpy()[real])
        return {name: np.concatenate(values) for name, values in found.items()}


class RepresentationScore:
    """Weighted kNN, and the online probe where there is one, on an evaluation split.

    Args:
        extractor: an Extractor of "final_avg_pool" (and "logits" for the probe).
        bank: Source of labelled images the neighbours come from.
        evaluation: Source with labels.
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
        """Returns a dict of knn_top1, knn_top5, probe_top1, probe_top5 in [0, 1]; top-5 only above 5 classes."""
        bank = self._extractor(self._bank)["final_avg_pool"]
        outputs = self._extractor(self._evaluation)
        votes = knn_predict(
            bank,
            self._bank.labels,
            outputs["final_avg_pool"],
            num_classes=self._num_classes,
            k=self._k,
            temperature=self._temperature,
        )
        scores = {"knn": votes}
        if "logits" in outputs:
            scores["probe"] = outputs["logits"]
        return {
            f"{name}_top{k}": float(top_k_accuracy(values, self._evaluation.labels, k))
            for name, values in scores.items()
            for k in (1, 5)
        }


def knn_bank(source, limit, seed):
    """Returns the labelled rows of a source, at most `limit` of them (a seeded choice)."""
    rows = cap_bank(source.num_examples, source.labels, limit, seed)
    return source.subset(rows)

"""Features of whole sources, and scores of a representation by kNN and online probe."""

import functools
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from simclr_keras.data import pipeline
from simclr_keras.data.sources.source import Source
from simclr_keras.errors import DivergedError, TrainingError
from simclr_keras.evaluation.embedding_quality import alignment, effective_rank, uniformity
from simclr_keras.evaluation.knn import cap_bank, knn_predict
from simclr_keras.evaluation.metrics import top_k_accuracy
from simclr_keras.hosts import Hosts

LARGE = 2e9  # bytes of features that are worth a line


class Extractor:
    """Computes endpoints of a model over whole sources, on all replicas, in order.

    Args:
        model: a SimCLRModel.
        strategy: the tf.distribute strategy the model was made under.
        image_size: side of the images the model sees.
        batch_size: global batch, rounded up to a multiple of the replicas; the last one is padded, so that shapes
            stay static.
        endpoints: names to compute.
        antialias: whether images are antialiased when they shrink.
        say: prints a line if the endpoints of a source take gigabytes of memory; or None.
        hosts: Hosts, which all get all endpoints; None for one.
    """

    def __init__(
        self,
        model,
        strategy,
        *,
        image_size,
        batch_size,
        endpoints,
        antialias=False,
        say=None,
        hosts=None,
    ):
        self._strategy, self._say = strategy, say
        self._image_size, self._antialias = image_size, antialias
        self.hosts = hosts or Hosts()
        is_precise = model.encoder.compute_dtype in ("float32", "float64")
        self._remedy = "" if is_precise else "--precision=float32, or "
        replicas = strategy.num_replicas_in_sync
        self._batch_size = -(-batch_size // replicas) * replicas

        def compute(batch):
            outputs = model(batch["image"], training=False)
            values = {name: tf.cast(outputs[name], tf.float32) for name in endpoints}
            return {"id": batch["id"], "label": batch["label"], **values}

        @tf.function(autograph=False)
        def step(batch):
            values = strategy.run(compute, args=(batch,))
            return {name: strategy.gather(value, axis=0) for name, value in values.items()}

        self._step, self._traced = step, False

    def __call__(self, source, as_they_are: bool = False) -> dict[str, np.ndarray]:
        """Compute the endpoints of every image of a source.

        Args:
            source: Source or StreamSource.
            as_they_are: whether its images are the network's input already, of its image size.

        Returns:
            dict of endpoint name to float32 array [n, ...], and "label" int32 [n] (-1 = unlabeled), rows in the
            source's order. The labels of a stream come from here only.

        Raises:
            DivergedError: an endpoint is not finite.
        """
        outputs, done = {}, 0
        for batch in self._batches(source, as_they_are):
            if not self._traced:
                # Traced explicitly, or TensorFlow takes many extractors for one function that is retraced too often.
                self._step.get_concrete_function(batch)
                self._traced = True
            values = {name: value.numpy() for name, value in self._step(batch).items()}
            real = values.pop("id") >= 0  # not padding
            # Filled batch by batch: joining batches at the end would take the memory twice.
            outputs = outputs or self._allocate(len(source), values)
            end = done + np.count_nonzero(real)
            for name, value in values.items():
                if not np.all(np.isfinite(value[real])):
                    raise DivergedError(
                        f"the network's {name} is not finite. Try {self._remedy}a training with a lower "
                        "--learning_rate or a longer --warmup_epochs, in another --model_dir."
                    )
                outputs[name][done:end] = value[real]
            done = end
        return outputs

    def _batches(self, source, as_they_are):
        """Return the global batches, of which every host reads its own rows."""

        def batches(context):
            return pipeline.eval_batches(
                source,
                image_size=self._image_size,
                batch_size=self._batch_size,
                pad=True,
                input_context=context,
                as_they_are=as_they_are,
                antialias=self._antialias,
            )

        # Not experimental_distribute_dataset, which divides a stream among the hosts of a TPU slice by its files.
        return self._strategy.distribute_datasets_from_function(batches)

    def _allocate(self, rows, values):
        """Return arrays for the endpoints of all rows, shaped like those of one batch."""
        shapes = {name: (rows, *value.shape[1:]) for name, value in values.items()}
        size = sum(math.prod(shape) * values[name].itemsize for name, shape in shapes.items())
        if self._say and size > LARGE:
            self._say(f"memory   {size / 1e9:.1f} GB for the features of {rows:,} images")
        try:
            return {name: np.empty(shape, values[name].dtype) for name, shape in shapes.items()}
        except MemoryError as error:
            raise TrainingError(
                f"the features of {rows:,} images take {size / 1e9:.1f} GB, more than there is memory; give fewer "
                "images."
            ) from error


class ViewPairs(NamedTuple):
    """Pairs of views whose embeddings are compared.

    Attributes:
        source: of the first views, then of the second views in the same order, as the network sees them.
        endpoint: name of the embeddings that the contrastive loss is of.
    """

    source: Source
    endpoint: str


class RepresentationScore:
    """Weighted kNN, the online probe if there is one, and figures without labels, on an evaluation split.

    Args:
        extractor: an Extractor of "final_avg_pool" (and "logits" for the probe, and the endpoint of the pairs).
        bank: Source or StreamSource of labeled images the neighbors come from.
        evaluation: Source or StreamSource with labels.
        make_pairs: returns ViewPairs of evaluation images, or None; called at the first evaluation.
        knn: num_classes, k and temperature of `knn_predict`.
    """

    def __init__(self, extractor, bank, evaluation, make_pairs=lambda: None, **knn):
        self.extractor = extractor
        self.bank = bank
        self.evaluation = evaluation
        self.knn = knn
        self._pairs = functools.cache(make_pairs)

    def outputs(self) -> tuple[dict, dict]:
        """Return what the extractor computes of the bank and of the evaluation split."""
        return self.extractor(self.bank), self.extractor(self.evaluation)

    def __call__(self) -> dict[str, float]:
        """Return the scores and figures of the network as it is.

        Returns:
            dict of knn_top1, knn_top5, probe_top1 and probe_top5 in [0, 1] (top-5 is 1 up to 5 classes);
            effective_rank of the features; alignment and uniformity of the pairs, see `embedding_quality`.
        """
        bank, outputs = self.outputs()
        votes = self.extractor.hosts.map_rows(
            lambda queries: knn_predict(bank["final_avg_pool"], bank["label"], queries, **self.knn),
            outputs["final_avg_pool"],
        )
        scores = {"knn": votes}
        if "logits" in outputs:
            scores["probe"] = outputs["logits"]
        return {
            f"{name}_top{k}": float(top_k_accuracy(values, outputs["label"], k))
            for name, values in scores.items()
            for k in (1, 5)
        } | self._figures(outputs["final_avg_pool"])

    def _figures(self, features):
        """Return the figures without labels."""
        figures = {"effective_rank": effective_rank(features)}
        if (pairs := self._pairs()) is None:
            return figures
        first, second = np.split(self.extractor(pairs.source, as_they_are=True)[pairs.endpoint], 2)
        uniformities = [uniformity(views) for views in (first, second)]
        return figures | {"alignment": alignment(first, second), "uniformity": float(np.mean(uniformities))}


def knn_bank(source, limit: int, seed: int):
    """Return at most `limit` labeled rows of a source, chosen by a seed.

    The choice is stratified, except from a StreamSource, where it comes from as few files as possible.
    """
    if not source.indexed:
        return source.sample(limit, seed)
    return source.subset(cap_bank(source.num_examples, source.labels, limit, seed))

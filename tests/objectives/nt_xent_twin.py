"""NT-Xent as the papers say it, one anchor at a time in Python floats; and what its tests share."""

import math

import numpy as np
import tensorflow as tf

from simclr_keras.objectives.nt_xent import nt_xent


def twin(view1, view2, temperature=0.1, normalize=True, keys=None, queue=(), ids=None, queue_ids=None):
    """Loss, accuracy and entropy as the papers say them, one anchor at a time."""

    def unit(x):
        return [
            float(c) / max(math.sqrt(sum(float(c) ** 2 for c in x)), 1e-6) if normalize else float(c)
            for c in x
        ]

    views = [[unit(x) for x in view1], [unit(x) for x in view2]]
    targets = views if keys is None else [[unit(x) for x in key] for key in keys]
    queue = [unit(x) for x in queue]
    n = len(view1)
    ids = [-1] * n if ids is None else ids
    queue_ids = [-2] * len(queue) if queue_ids is None else queue_ids

    def is_other(i, j):
        return i != j and (ids[i] != ids[j] or ids[i] < 0)

    def similarity(x, y):
        return sum(a * b for a, b in zip(x, y)) / temperature

    loss = 0.0
    for view, other in ((0, 1), (1, 0)):
        for i in range(n):
            anchor = views[view][i]
            positive = similarity(anchor, targets[other][i])
            everyone = [similarity(anchor, targets[other][j]) for j in range(n) if j == i or is_other(i, j)]
            everyone += [similarity(anchor, targets[view][j]) for j in range(n) if is_other(i, j)]
            everyone += [
                similarity(anchor, row)
                for row, past in zip(queue, queue_ids)
                if past != -1 and (past != ids[i] or past < 0)
            ]
            top = max(everyone)
            loss += top + math.log(sum(math.exp(s - top) for s in everyone)) - positive
    hits, entropy = 0, 0.0
    for i in range(n):
        across = [similarity(views[0][i], targets[1][j]) for j in range(n)]
        hits += across.index(max(across)) == i
        exponentials = [math.exp(s - max(across)) for s in across]
        shares = [e / sum(exponentials) for e in exponentials]
        entropy -= sum(p * math.log(p + 1e-8) for p in shares)
    return loss / n, hits / n, entropy / n


def draw(n, d, seed=0, count=2):
    views = np.random.default_rng(seed).normal(size=(count, n, d))
    views[1] += views[0]  # so that accuracy is neither 0 nor 1
    return views


def gradients(view1, view2, **options):
    view1, view2 = tf.constant(view1), tf.constant(view2)
    with tf.GradientTape() as tape:
        tape.watch([view1, view2])
        loss = nt_xent(view1, view2, **options).loss
    return [gradient.numpy() for gradient in tape.gradient(loss, [view1, view2])]


def step_with_gradients(**options):
    def step(view1, view2):
        with tf.GradientTape() as tape:
            tape.watch([view1, view2])
            result = nt_xent(view1, view2, **options)
            shared = result.loss / tf.distribute.get_strategy().num_replicas_in_sync
        return list(result), tape.gradient(shared, [view1, view2])

    return step

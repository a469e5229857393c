"""The endless sequence that batches are cut from: a new permutation every epoch."""

import numpy as np
import tensorflow as tf

from simclr_keras.data.sampler import shuffled_indices


def test_permutations_of_epochs_differ():
    for n, seed in ((1, 0), (2, 0), (3, 1), (17, 2), (1000, 3), (70_000, 4)):
        epochs = shuffled_indices(tf.range(3 * n, dtype=tf.int64), n, seed).numpy().reshape(3, n)
        np.testing.assert_array_equal(np.sort(epochs, axis=1), np.broadcast_to(np.arange(n), (3, n)))
        if n >= 1000:
            ordered = np.concatenate([epochs, np.arange(n)[None]])
            assert np.abs(np.corrcoef(ordered) - np.eye(4)).max() < 5 / np.sqrt(n)
            assert np.abs(np.corrcoef(epochs[0, 1:], epochs[0, :-1])[0, 1]) < 5 / np.sqrt(n)

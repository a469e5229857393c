"""A Keras model that stands for any: batch normalization, dropout, a nested model and layers that Keras numbers."""

import keras


def make_network(size=8, channels=4):
    """A functional model from images to features [n, channels]; layers of this process before it have other names."""
    inputs = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(channels, 3, strides=2, use_bias=False)(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.25)(x)
    nested = keras.Sequential(
        [keras.layers.Conv2D(channels, 1, use_bias=False), keras.layers.BatchNormalization(scale=False)]
    )
    x = keras.layers.ReLU()(nested(x) + x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


class Subclassed(keras.Model):
    """A subclassed model whose layers Keras builds at the first call."""

    def __init__(self):
        super().__init__()
        self.conv = keras.layers.Conv2D(4, 3, strides=2)
        self.norm = keras.layers.BatchNormalization()
        self.pool = keras.layers.GlobalAveragePooling2D()

    def call(self, images, training=False):
        return self.pool(self.norm(self.conv(images), training=training))


class WithoutBatchNorm(keras.Model):
    """Attention over patches with layer normalization, as in a vision transformer."""

    def __init__(self):
        super().__init__()
        self.patches = keras.layers.Conv2D(8, 4, strides=4)
        self.tokens = keras.layers.Reshape((-1, 8))
        self.attention = keras.layers.MultiHeadAttention(2, 4, dropout=0.1)
        self.norm = keras.layers.LayerNormalization()
        self.pool = keras.layers.GlobalAveragePooling1D()

    def call(self, images, training=False):
        x = self.tokens(self.patches(images))
        return self.pool(self.norm(x + self.attention(x, x, training=training)))

"""The smallest encoders with a block group: two blocks with every kind of layer, and one basic block."""

import keras

from simclr_keras.models.blocks import Conv2D, spatial_mean
from simclr_keras.models.resnet import BlockGroup


class TwoBlocks(keras.layers.Layer):
    """A convolution and two bottlenecks with selective kernels and squeeze-excitation."""

    RICH = True

    def __init__(self, **options):
        super().__init__(name="encoder", **options)
        self.stem = Conv2D(8, 3, 2, name="stem", dtype=self.dtype_policy)
        rich, se_ratio = self.RICH, 0.5 * self.RICH
        self.block_group1 = BlockGroup(
            2 if rich else 1,
            4 if rich else 8,
            1,
            rich,
            rich,
            se_ratio,
            name="block_group1",
            dtype=self.dtype_policy,
        )

    @property
    def block_groups(self):
        return [self.block_group1]

    def build(self, input_shape):
        self.stem.build(input_shape)
        self.block_group1.build((None, None, None, 8))

    def call(self, images, training=False):
        return {"final_avg_pool": spatial_mean(self.block_group1(self.stem(images), training=training))}

    def compute_output_shape(self, input_shape):
        return {"final_avg_pool": (input_shape[0], 16 if self.RICH else 8)}


class OneBlock(TwoBlocks):
    """A convolution and one basic block."""

    RICH = False

"""How epochs, batches and base rates become steps and a peak learning rate. Plain Python, no TensorFlow.

The rounding is the released code's, so that its schedules are met to the step (its `get_train_steps` and
`WarmUpAndCosineDecay`).
"""

import math


def total_steps(num_examples: int, batch_size: int, epochs: float) -> int:
    """Return the steps of a whole run: num_examples * epochs // batch_size + 1.

    The one step more makes up for step 0, which runs at a learning rate of 0 when there is a warm-up.

    Args:
        num_examples: images in the training split.
        batch_size: global batch size, in images (not views).
        epochs: positive number, fractions allowed.
    """
    return int(num_examples * epochs // batch_size) + 1


def warmup_steps(num_examples: int, batch_size: int, warmup_epochs: float) -> int:
    """Return the steps of linear warm-up: warmup_epochs * num_examples // batch_size.

    Args:
        num_examples: images in the training split.
        batch_size: global batch size, in images (not views).
        warmup_epochs: number of epochs, 0 or more, fractions allowed.
    """
    return round(warmup_epochs * num_examples // batch_size)


def peak_learning_rate(base: float, batch_size: int, scaling: str = "linear") -> float:
    """Return the learning rate at the end of the warm-up.

    Args:
        base: learning rate before scaling, 0 or more.
        batch_size: global batch size, in images (not views).
        scaling: "linear" for base * batch_size / 256 (SimCLR, appendix B.1), "sqrt" for
            base * sqrt(batch_size) (SimCLRv2, section 3), "none" for base itself.
    """
    if scaling == "linear":
        return base * batch_size / 256
    if scaling == "sqrt":
        return base * math.sqrt(batch_size)
    return base

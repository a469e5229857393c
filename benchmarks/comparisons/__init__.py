"""The comparisons: one module each, whose `cases(quick)` returns the Cases; imports no TensorFlow and no PyTorch."""

# In the order in which they run.
NAMES = (
    "start",
    "losses",
    "input",
    "pretrain_step",
    "step_settings",
    "finetune_step",
    "whole_training",
    "evaluation",
    "export",
    "growth",
)

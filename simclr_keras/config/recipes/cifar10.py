"""CIFAR-10: the released code's README, and recipes of our own for two CPU cores."""

# README of the released code: r18, 1000 epochs, peak 1.0 * 512/256 = 2; linear probe about 91 %.
CIFAR10_PRETRAIN = {
    "dataset": "cifar10",
    "model": "r18_1x_sk0",
    "image_size": 32,
    "batch_size": 512,
    "epochs": 1000,
    "optimizer": "lars",
    "learning_rate": 1.0,
    "learning_rate_scaling": "linear",
    "warmup_epochs": 10.0,
    "weight_decay": 1e-4,
    "temperature": 0.5,
    "color_strength": 0.5,
    "blur_probability": 0.0,
}

# Half an hour on two CPU cores.
CIFAR10_SMALL = {
    **CIFAR10_PRETRAIN,
    "model": "r18_0.25x_sk0",
    "epochs": 30,
    "optimizer": "momentum",
    "learning_rate": 0.3,  # peak 0.3 * 512/256 = 0.6
    "warmup_epochs": 1.0,
    "weight_decay": 5e-4,
    "temperature": 0.2,
    "crop_min_area": 0.2,
    "proj_hidden_dim": 512,
    "probe_learning_rate": 0.25,
}

# README of the released code: linear evaluation after CIFAR10_PRETRAIN, peak 0.1 * 512/256 = 0.2.
CIFAR10_LINEAR_EVAL = {
    "dataset": "cifar10",
    "batch_size": 512,
    "epochs": 100,
    "optimizer": "momentum",
    "learning_rate": 0.1,
    "learning_rate_scaling": "linear",
    "warmup_epochs": 0.0,
    "weight_decay": 0.0,
    "augment": "crop,flip",
}

# The stages after CIFAR10_SMALL, for two CPU cores; measured by benchmarks/studies/cifar10_method.py.
CIFAR10_FINETUNE_1PCT = {
    "label_fraction": 0.01,
    "batch_size": 128,
    "epochs": 60,
    "optimizer": "momentum",
    "learning_rate": 0.05,  # peak 0.05 * 128/256 = 0.025
    "learning_rate_scaling": "linear",
    "warmup_epochs": 0.0,
    "weight_decay": 0.0,
    "head_layer": 1,
    "augment": "crop,flip",
    "crop_min_area": 0.2,
    "eval_batch_size": 500,
}
CIFAR10_FINETUNE_10PCT = {**CIFAR10_FINETUNE_1PCT, "label_fraction": 0.1, "epochs": 15}
CIFAR10_SUPERVISED_1PCT = {
    "dataset": "cifar10",
    "model": "r18_0.25x_sk0",
    "image_size": 32,
    "label_fraction": 0.01,
    "batch_size": 128,
    "epochs": 200,
    "optimizer": "momentum",
    "learning_rate": 0.1,
    "learning_rate_scaling": "linear",
    "warmup_epochs": 5.0,
    "weight_decay": 5e-4,
    "augment": "crop,flip",
    "crop_min_area": 0.2,
    "eval_batch_size": 500,
}
CIFAR10_SUPERVISED_10PCT = {**CIFAR10_SUPERVISED_1PCT, "label_fraction": 0.1, "epochs": 45}
# Self-distillation on all images, at the paper's temperature, which makes gradients ten times as large as at 1. It is
# meant to start from the pretrained encoder (--init): random weights take several times the epochs. So does a student
# that is to be better than a teacher of 10 % of the labels: 20 of them.
CIFAR10_DISTILL = {
    "batch_size": 256,
    "epochs": 5,
    "optimizer": "momentum",
    "learning_rate": 0.01,
    "learning_rate_scaling": "linear",
    "warmup_epochs": 0.5,
    "weight_decay": 5e-4,
    "temperature": 0.1,
    "augment": "crop,flip",
    "crop_min_area": 0.2,
    "eval_batch_size": 500,
}

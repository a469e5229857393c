"""ImageNet: the paper's stages, and those of the released code's README."""

# SimCLRv2 (arXiv 2006.10029), section 3 and appendix: 800 epochs, peak 0.1 * sqrt(4096) = 6.4, warm-up 5 % of epochs;
# memory of the last 8 batches of 4096 images in two views.
# Linear evaluation of r50_1x_sk0 with memory: 71.7 % (Table 1).
IMAGENET_PRETRAIN = {
    "dataset": "imagenet2012",
    "model": "r50_1x_sk0",
    "image_size": 224,
    "batch_size": 4096,
    "epochs": 800,
    "optimizer": "lars",
    "learning_rate": 0.1,
    "learning_rate_scaling": "sqrt",
    "warmup_epochs": 0.05 * 800,
    "weight_decay": 1e-4,
    "temperature": 0.1,
    "memory": "queue",
    "ema_decay": 0.999,
    "memory_size": 8 * 2 * 4096,
    "proj_layers": 3,
    "proj_dim": 128,
    "color_strength": 1.0,
    "blur_probability": 0.5,
}

# README of the released code: 100 epochs, peak 0.075 * sqrt(4096) = 4.8, 64.5 % linear.
IMAGENET_PRETRAIN_100 = {
    **IMAGENET_PRETRAIN,
    "memory": "none",
    "epochs": 100,
    "learning_rate": 0.075,
    "warmup_epochs": 10.0,
}

# SimCLR v1 (arXiv 2002.05709): 1000 epochs, peak 0.3 * 4096/256 = 4.8, 2-layer head, additive brightness,
# weight decay 1e-6; linear 69.1 / 74.2 / 76.6 % for r50 1x / 2x / 4x.
IMAGENET_PRETRAIN_V1 = {
    **IMAGENET_PRETRAIN,
    "memory": "none",
    "epochs": 1000,
    "learning_rate": 0.3,
    "learning_rate_scaling": "linear",
    "warmup_epochs": 10.0,
    "weight_decay": 1e-6,
    "proj_layers": 2,
    "brightness_mode": "add",
}

# SimCLRv2, section 3: 60 epochs on 1 %, 30 on 10 % and on all labels; no warm-up, no decay; from head layer 1, on all
# labels from the encoder's output. The network chooses the rate (`finetuning_rate`): peak 0.005 * sqrt(1024) = 0.16 for
# r50_1x_sk0 and the like, 0.002 * sqrt(1024) = 0.064 for wider or SK networks. r50_1x_sk0: 57.9 / 68.4 / 76.3 %
# (Table 1).
FINETUNE_1PCT = {
    "dataset": "imagenet2012_subset/1pct",
    "batch_size": 1024,
    "epochs": 60,
    "optimizer": "lars",
    "learning_rate_scaling": "sqrt",
    "warmup_epochs": 0.0,
    "weight_decay": 0.0,
    "head_layer": 1,
    "augment": "crop,flip",
}
FINETUNE_10PCT = {**FINETUNE_1PCT, "dataset": "imagenet2012_subset/10pct", "epochs": 30}
FINETUNE_100PCT = {**FINETUNE_1PCT, "dataset": "imagenet2012", "epochs": 30, "head_layer": 0}

# Linear classifier on the frozen encoder's output: peak 0.1 * 4096/256 = 1.6. r50_1x_sk0: 71.7 % (Table 1).
LINEAR_EVAL = {
    "dataset": "imagenet2012",
    "batch_size": 4096,
    "epochs": 90,
    "optimizer": "momentum",
    "learning_rate": 0.1,
    "learning_rate_scaling": "linear",
    "warmup_epochs": 0.0,
    "weight_decay": 1e-6,
    "augment": "crop,flip",
}

# Equation 2 on all images, 400 epochs at the rates of pretraining; temperature 0.1 into the same network, 1.0 into a
# smaller one. From the self-distilled r152_3x_sk1, r50_1x_sk0 reaches 73.9 / 77.5 % (Table 3).
DISTILL_SELF = {
    "dataset": "imagenet2012",
    "batch_size": 4096,
    "epochs": 400,
    "optimizer": "lars",
    "learning_rate": 0.1,
    "learning_rate_scaling": "sqrt",
    "warmup_epochs": 0.05 * 400,
    "weight_decay": 1e-4,
    "temperature": 0.1,
    "augment": "crop,flip",
}
DISTILL_SMALL = {**DISTILL_SELF, "model": "r50_1x_sk0", "temperature": 1.0}

# The supervised column of Table 1: 90 epochs, 28,151 steps of 4096. r50_1x_sk0: 76.6 %.
SUPERVISED = {
    "dataset": "imagenet2012",
    "model": "r50_1x_sk0",
    "image_size": 224,
    "batch_size": 4096,
    "epochs": 90,
    "optimizer": "lars",
    "learning_rate": 0.1,
    "learning_rate_scaling": "sqrt",
    "warmup_epochs": 5.0,
    "weight_decay": 1e-4,
    "augment": "crop,flip",
}
# The baselines with few labels use AutoAugment and label smoothing. Their length is not published. Here they take as
# many steps, which is 90 epochs * 1,281,167 images / the images of the subset.
SUPERVISED_1PCT = {
    **SUPERVISED,
    "dataset": "imagenet2012_subset/1pct",
    "epochs": 9001,
    "train_steps": 28_151,
    "warmup_epochs": 5 * 1_281_167 / 12_811,
    "label_smoothing": 0.1,
    "augment": "crop,flip,autoaugment",
}
SUPERVISED_10PCT = {
    **SUPERVISED_1PCT,
    "dataset": "imagenet2012_subset/10pct",
    "epochs": 900,
    "warmup_epochs": 5 * 1_281_167 / 128_116,
}

"""scikit-learn's digits: the whole method in minutes, which is what `make demo` runs."""

# About a minute on two CPU cores, no download.
DIGITS_DEMO = {
    "dataset": "digits",
    "model": "r18_0.25x_sk0",
    "image_size": 16,
    "batch_size": 256,
    "epochs": 100,
    "optimizer": "momentum",
    "learning_rate": 0.12,
    "learning_rate_scaling": "linear",
    "warmup_epochs": 2.0,
    "weight_decay": 5e-4,
    "temperature": 0.2,
    "probe_learning_rate": 0.5,
    "proj_hidden_dim": 256,
    "crop_min_area": 0.3,
    "flip_probability": 0.0,  # a mirrored 2 is no digit
    "color_strength": 0.5,
    "blur_probability": 0.0,
    "eval_fraction": 0.2,
    "baselines": True,
}

# The stages after it, on 5 labels of each class.
DIGITS_SUPERVISED = {
    "eval_fraction": DIGITS_DEMO["eval_fraction"],  # the same images are judged
    "dataset": "digits",
    "model": "r18_0.25x_sk0",
    "image_size": 16,
    "labels_per_class": 5,
    "batch_size": 64,
    "epochs": 150,
    "optimizer": "momentum",
    "learning_rate": 0.1,
    "learning_rate_scaling": "linear",
    "warmup_epochs": 5.0,
    "weight_decay": 5e-4,
    "augment": "crop",
    "crop_min_area": 0.3,
    "eval_batch_size": 256,
}
DIGITS_FINETUNE = {
    "labels_per_class": 5,
    "batch_size": 64,
    "epochs": 60,
    "optimizer": "momentum",
    "learning_rate": 0.1,
    "learning_rate_scaling": "linear",
    "augment": "crop",
    "crop_min_area": 0.3,
    "eval_batch_size": 256,
}
DIGITS_DISTILL = {
    "model": "r18_0.125x_sk0",
    "batch_size": 256,
    "epochs": 40,
    "optimizer": "momentum",
    "learning_rate": 0.1,
    "learning_rate_scaling": "linear",
    "warmup_epochs": 2.0,
    "weight_decay": 5e-4,
    "temperature": 1.0,
    "augment": "crop",
    "crop_min_area": 0.3,
}

"""A folder of some thousand photos with a few hundred labels, on one machine: not from a paper, tried on small data.

simclr pretrain --recipe=photos_pretrain --dataset=folder:photos --model_dir=runs/photos
simclr pretrain --recipe=photos_continue --init=published:r50_1x_sk0 --dataset=folder:photos
simclr finetune --recipe=photos_finetune --init=runs/photos --labels=labels.csv
simclr distill --recipe=photos_distill --teacher=runs/finetune-folder_photos-r18_1x_sk0-layer1  # student: r18_0.5x_sk0
"""

# Momentum rather than LARS, which is made for batches of thousands.
PHOTOS_PRETRAIN = {
    "model": "r18_1x_sk0",
    "image_size": 96,
    "batch_size": 64,
    "epochs": 100,
    "optimizer": "momentum",
    "learning_rate": 0.12,  # peak 0.12 * 64/256 = 0.03
    "learning_rate_scaling": "linear",
    "warmup_epochs": 5.0,
    "weight_decay": 5e-4,
    "temperature": 0.2,
    "color_strength": 0.3,  # the paper's 1.0 destroys the colors that photos of goods or plants are told apart by
}
# From published or earlier weights, whose network and image size it takes. A fortieth of the learning rate of
# PHOTOS_PRETRAIN: at a quarter, the contrastive loss of an ImageNet network on photos rose at first, and its features
# lost more (docs/photos.md). They also lost more with views of other hues or gray, and with batch normalization that
# follows the photos. If the contrastive loss hardly falls within ten epochs, try ten times the rate, as suits a small
# network pretrained on little; if kNN falls below that of `simclr knn` on --init, halve it.
PHOTOS_CONTINUE = {
    "batch_size": 64,
    "epochs": 50,
    "optimizer": "momentum",
    "learning_rate": 0.003,  # peak 0.003 * 64/256 = 0.00075
    "learning_rate_scaling": "linear",
    "warmup_epochs": 5.0,
    "weight_decay": 1e-4,  # of the release
    "temperature": 0.1,  # of the release, for which its head was trained
    "color_strength": PHOTOS_PRETRAIN["color_strength"],
    "hue": 0.0,
    "grayscale_probability": 0.0,
    "freeze_batch_norm": True,
}
PHOTOS_FINETUNE = {
    "batch_size": 64,
    "epochs": 60,
    "optimizer": "momentum",
    "learning_rate": 0.1,  # peak 0.1 * 64/256 = 0.025
    "learning_rate_scaling": "linear",
    "augment": "crop,flip",
    "crop_min_area": 0.2,
}
# From random weights, with the network and the decay of PHOTOS_PRETRAIN.
PHOTOS_SUPERVISED = {
    **PHOTOS_FINETUNE,
    "model": PHOTOS_PRETRAIN["model"],
    "image_size": PHOTOS_PRETRAIN["image_size"],
    "warmup_epochs": 2.0,
    "weight_decay": 5e-4,
}
PHOTOS_LINEAR_EVAL = {**PHOTOS_FINETUNE, "weight_decay": 1e-6}
# Into a network half as wide, a quarter of the parameters of PHOTOS_PRETRAIN, from random weights.
PHOTOS_DISTILL = {
    "model": "r18_0.5x_sk0",
    "batch_size": 64,
    "epochs": 60,
    "optimizer": "momentum",
    "learning_rate": 0.1,
    "learning_rate_scaling": "linear",
    "warmup_epochs": 2.0,
    "weight_decay": 5e-4,
    "temperature": 1.0,
    "augment": "crop,flip",
    "crop_min_area": 0.2,
}

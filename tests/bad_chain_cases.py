"""The table of commands that are refused by the stages after pretraining; {runs} is the folder of `earlier_runs`."""

import numpy as np

from tests.bad_input_cases import FOLDER, NPZ, Case, flat_folder, npz
from tests.export.foreign import write_foreign

# What does not belong to a mode that trains nothing is taken out of the good command.
NO_TRAINING = {"batch_size": None, "epochs": None}
FINETUNE = {"mode": "finetune", "init": "{runs}/pretrained"}
LINEAR = {"mode": "linear_eval", "init": "{runs}/pretrained"}
FAST = {**LINEAR, "protocol": "fast"}
KNN = {"mode": "knn", "init": "{runs}/pretrained", **NO_TRAINING}
EVAL = {"mode": "eval", "init": "{runs}/finetuned", **NO_TRAINING}
DISTILL = {"mode": "distill", "teacher": "{runs}/finetuned", "model": None, "image_size": None}
SUPERVISED = {"mode": "supervised"}
BACKBONE = {**SUPERVISED, "model": "keras:VGG16", "image_size": 32}
UNLABELED = npz(y_train=None, y_test=None, x_test=None)
MODES = {
    "finetune": FINETUNE,
    "linear_eval": LINEAR,
    "fast linear_eval": FAST,
    "knn": KNN,
    "eval": EVAL,
    "supervised": SUPERVISED,
}


def starting_from(run, *words, right, name=None):
    """Cases of a run that cannot be gone on from: as --init of fine-tuning, and as --teacher."""
    for flag, command in (("init", FINETUNE), ("teacher", DISTILL)):
        wrong = tuple(text.replace("FLAG", f"--{flag}") for text in words)
        hint = tuple(text.replace("FLAG", f"--{flag}") for text in right)
        yield Case(f"--{flag}: {name or run}", wrong, hint, {**command, flag: f"{{runs}}/{run}"})


REPEAT = ("repeat its own command until it ends",)
BRING_BACK = ("restore it, or give another FLAG",)
EARLIER_RUNS = [
    Case("no --init", ("--init is missing",), ("--init=runs/pretrain-",), {**FINETUNE, "init": None}),
    Case("no --init of knn", ("--init is missing",), ("--init=runs/pretrain-",), {**KNN, "init": None}),
    Case("no --init of eval", ("--init is missing",), ("--init=runs/",), {**EVAL, "init": None}),
    Case("no --init of linear_eval", ("--init is missing",), ("--init=runs/",), {**LINEAR, "init": None}),
    Case(
        "no --teacher", ("--teacher is missing",), ("--teacher=runs/finetune-",), {**DISTILL, "teacher": None}
    ),
    *starting_from("nowhere", "FLAG={runs}/nowhere", "not found", right=("--model_dir of an earlier",)),
    Case(
        "--init: unknown published name",
        ("--init=published:r50_1x_sk3 is unknown",),
        ("did you mean r50_1x_sk",),
        {**FINETUNE, "init": "published:r50_1x_sk3"},
    ),
    Case(
        "--teacher: unknown published name",
        ("--teacher=published:finetune_1pct/r50_1x_sk0 is unknown",),
        ("finetuned_1pct/r50_1x_sk0",),
        {**DISTILL, "teacher": "published:finetune_1pct/r50_1x_sk0"},
    ),
    Case(
        "--init: missing PyTorch file",
        ("--init=torch:{tmp}/nowhere.safetensors is not found",),
        ("give torch:FILE.safetensors",),
        {**FINETUNE, "init": "torch:{tmp}/nowhere.safetensors"},
    ),
    Case(
        "--init: no address of a hub",
        ("--init=hf://repo is not an address",),
        ("give hf://USER/REPO",),
        {**FINETUNE, "init": "hf://repo"},
    ),
    *starting_from("file", "FLAG={runs}/file", "is a file", right=("give a directory",)),
    *starting_from("empty", "FLAG={runs}/empty", "it has no config.json", right=("directory of an earlier",)),
    *starting_from("unfinished", "FLAG={runs}/unfinished", "is not finished", right=REPEAT),
    *starting_from("extended", "FLAG={runs}/extended", "is not finished", right=REPEAT),
    *starting_from("without_checkpoint", "has no checkpoint", right=("give another FLAG",)),
    *starting_from(
        "measured", "FLAG={runs}/measured", "--mode=knn", "no network of its own", right=("runs/pretrained",)
    ),
    *starting_from("cut_config", "cut_config/config.json is damaged", right=BRING_BACK),
    *starting_from("odd_config", "odd_config/config.json", "--batch_size='many'", right=("a whole number",)),
    *starting_from("odd_mode", "odd_mode/config.json", "--mode=pretend", right=("did you mean pretrain?",)),
    *starting_from("cut_split", "cut_split/split.json is damaged", right=BRING_BACK),
    *starting_from("odd_split", "odd_split/split.json is damaged", "held_out", right=BRING_BACK),
    *starting_from("cut_result", "cut_result/result.json is damaged", right=BRING_BACK),
    *starting_from("odd_result", "odd_result/result.json is damaged", "ancestors", right=BRING_BACK),
    *starting_from("cut_model", "cut_model/model.json is damaged", right=BRING_BACK),
    *starting_from("odd_model", "odd_model/model.json is damaged", "proj_layers is '3'", right=BRING_BACK),
    *starting_from("unknown_model", "unknown_model/model.json is damaged", "r51_1x", right=BRING_BACK),
    *starting_from("unknown_head", "unknown_head/model.json is damaged", "'cubic'", right=BRING_BACK),
    *starting_from(
        "negative_model", "negative_model/model.json is damaged", "proj_dim is -1", right=BRING_BACK
    ),
    *starting_from("other_classes", "other_classes/model.json", "11 classes", "10", right=BRING_BACK),
    *starting_from("cut_checkpoint", "cut_checkpoint/checkpoints", "step 1", right=("give another FLAG",)),
    *starting_from("run[1]", "FLAG={runs}/run[1]", "takes for a pattern", right=("a path without them",)),
    Case(
        "no best checkpoint to start from",
        ("{runs}/pretrained has no best checkpoint",),
        ("leave --init_checkpoint out",),
        {**FINETUNE, "init_checkpoint": "best"},
    ),
    *(
        Case(
            f"no momentum network to start from in {command['mode']}",
            ("{runs}/pretrained has no momentum network", "--memory=queue"),
            ("leave --use_ema out", "another --init"),
            {**command, "init": "{runs}/pretrained", "use_ema": True},
        )
        for command in (FINETUNE, KNN, DISTILL)
    ),
    Case(
        "momentum network of a teacher",
        ("--use_ema needs --init", "the student's first weights"),
        ("fine-tune the teacher with --use_ema",),
        {**DISTILL, "use_ema": True},
    ),
    Case(
        "no best checkpoint of a teacher",
        ("{runs}/finetuned has no best checkpoint",),
        ("leave --teacher_checkpoint out",),
        {**DISTILL, "teacher_checkpoint": "best"},
    ),
    Case(
        "unknown checkpoint",
        ("--init_checkpoint=first",),
        ("best, last",),
        {**FINETUNE, "init_checkpoint": "first"},
    ),
    *(
        Case(
            f"another network than that of --init in {mode}",
            ("--model=r34_1x_sk0", "--init={runs}/", "r18_0.125x_sk0"),
            ("leave --model out",),
            {**MODES[mode], "model": "r34_1x_sk0"},
        )
        for mode in ("finetune", "linear_eval", "fast linear_eval", "knn", "eval")
    ),
    Case(
        "a student unlike the run it starts from",
        ("--model=r34_1x_sk0", "--init={runs}/pretrained", "r18_0.125x_sk0"),
        ("leave --model out",),
        {**DISTILL, "init": "{runs}/pretrained", "model": "r34_1x_sk0"},
    ),
    Case(
        "a teacher that was only pretrained",
        ("--teacher={runs}/pretrained", "--mode=pretrain", "no classifier"),
        ("a fine-tuned, supervised or distilled run",),
        {**DISTILL, "teacher": "{runs}/pretrained"},
    ),
    Case(
        "a teacher of other classes",
        ("--teacher={runs}/of_three_classes", "3 classes (ant, bee, cat)", "digits has 10 (0, 1, 2, ...)"),
        ("data with its classes, or another --teacher",),
        {**DISTILL, "teacher": "{runs}/of_three_classes"},
    ),
    Case(
        "a teacher of as many classes of other names",
        ("--teacher={runs}/renamed", "10 classes (digit 0, digit 1, digit 2, ...)", "has 10 (0, 1, 2, ...)"),
        ("data with its classes, or another --teacher",),
        {**DISTILL, "teacher": "{runs}/renamed"},
    ),
    Case(
        "nothing to evaluate",
        ("--init={runs}/unlabeled", "no classifier"),
        ("simclr knn or simclr linear_eval",),
        {**EVAL, "init": "{runs}/unlabeled"},
    ),
    Case(
        "a classifier of other classes",
        ("--init={runs}/of_three_classes has 3 classes", "digits has 10"),
        ("data with its classes",),
        {**EVAL, "init": "{runs}/of_three_classes"},
    ),
    Case(
        "images of another size than a backbone was built for",
        ("--image_size=64", "--init={runs}/backbone", "keras:MobileNet", "32"),
        ("leave --image_size out",),
        {**EVAL, "init": "{runs}/backbone", "model": None, "image_size": 64},
    ),
    Case(
        "the run it starts from as its own directory",
        ("--model_dir={runs}/pretrained", "--mode=pretrain"),
        ("another directory",),
        {**FINETUNE, "model_dir": "{runs}/pretrained"},
    ),
]
HEAD_LAYERS = [
    Case(
        "neither a run to start from nor data",
        ("--init is missing",),
        ("give the run directory",),
        {"mode": "finetune", "dataset": None},
    ),
    Case(
        "labels of files for a run on other data",
        ("--labels=labels.csv", "was trained on digits"),
        ("give another --init, or --dataset=folder:PATH",),
        {**FINETUNE, "labels": "labels.csv", "dataset": None},
    ),
    *(
        Case(
            f"a layer beyond the head in {mode}",
            ("--head_layer=4 ", "--init={runs}/pretrained"),
            ("layers 0 to 3",),
            {**MODES[mode], "head_layer": 4},
        )
        for mode in ("finetune", "linear_eval", "fast linear_eval", "knn")
    ),
    Case(
        "a layer that fine-tuning dropped",
        ("--head_layer=2 ", "--init={runs}/finetuned"),
        ("layers 0 to 1",),
        {**FINETUNE, "init": "{runs}/finetuned", "head_layer": 2},
    ),
    Case(
        "a layer of no head",
        ("--head_layer=1 ", "--init={runs}/headless"),
        ("layer 0 alone",),
        {**FINETUNE, "init": "{runs}/headless", "head_layer": 1},
    ),
    Case(
        "a layer that is no number",
        ("--head_layer=top:",),
        ("a whole number", "or auto"),
        {**FINETUNE, "head_layer": "top"},
    ),
    Case("a negative layer", ("--head_layer=-1 ",), ("at least 0",), {**FINETUNE, "head_layer": -1}),
    Case("half a layer", ("--head_layer=0.5",), ("a whole number",), {**KNN, "head_layer": 0.5}),
    Case(
        "auto where it cannot be",
        ("--head_layer=auto",),
        ("a whole number",),
        {**LINEAR, "head_layer": "auto"},
    ),
    Case(
        "a layer cross-validated on one label a class",
        ("--head_layer=auto needs at least 2 labeled images of every class", "'0' has 1"),
        ("give more labels, or --head_layer=1",),
        {**FINETUNE, "head_layer": "auto", "labels_per_class": 1},
    ),
    Case("one fold", ("--cv_folds=1 ",), ("at least 2",), {**FINETUNE, "head_layer": "auto", "cv_folds": 1}),
    Case(
        "an unknown place to freeze to",
        ("--freeze_through=7 ",),
        ("at least -1 and at most 4",),
        {**FINETUNE, "freeze_through": 7},
    ),
    Case(
        "block groups of a backbone",
        ("--freeze_through=2 ", "keras:MobileNet", "no block groups"),
        ("-1 or 4",),
        {**FINETUNE, "init": "{runs}/backbone", "model": None, "image_size": None, "freeze_through": 2},
    ),
    Case(
        "--remat of an inherited backbone",
        ("--remat", "--model=keras:MobileNet"),
        ("leave it out",),
        {**FINETUNE, "init": "{runs}/backbone", "model": None, "image_size": None, "remat": True},
    ),
]
LABELS = [
    *(
        Case(
            f"no labels for {mode}",
            ("data.npz has no labels", f"--mode={command['mode']} needs them"),
            ("an archive with y_train",),
            {**command, **NPZ},
            make=UNLABELED,
        )
        for mode, command in MODES.items()
    ),
    Case(
        "no labels in a flat folder",
        ("/images has no labels", "--mode=finetune needs them"),
        ("class sub-folders", "--labels=labels.csv"),
        {**FINETUNE, **FOLDER},
        make=flat_folder(),
    ),
    *(
        Case(
            f"no labels for a distillation {how}",
            ("data.npz has no labels", f"{flag} needs them"),
            ("an archive with y_train",),
            {**DISTILL, **NPZ, **dict([flag.removeprefix("--").split("=")])},
            make=UNLABELED,
        )
        for how, flag in (("with labels", "--alpha=0.5"), ("of labeled images", "--distill_on=labeled"))
    ),
    *(
        Case(
            f"a fraction that leaves a class empty in {mode}",
            ("label_fraction=0.001", "class '0'", "without a label"),
            ("a larger fraction, or labels_per_class",),
            {**MODES[mode], "label_fraction": 0.001},
        )
        for mode in ("finetune", "linear_eval", "fast linear_eval", "knn", "supervised")
    ),
    Case(
        "a fraction of no labels",
        ("data.npz has no labels",),
        ("label_fraction and labels_per_class do not apply",),
        {**FINETUNE, **NPZ, "label_fraction": 0.5},
        make=UNLABELED,
    ),
    Case(
        "labels without evaluation images for knn",
        ("no evaluation split", "none of its labeled images is held out"),
        ("give more labels",),
        {**KNN, **NPZ},
        make=npz(x_train=np.zeros((3, 9, 9, 3), np.uint8), y_train=np.arange(3), x_test=None, y_test=None),
    ),
]


def saved_model(**settings):
    """Writes a SavedModel of others, of 4 classes where its output is bare, to the test's folder."""
    return lambda folder: write_foreign(folder / "saved", **settings)


def cut_saved_model(folder):
    (folder / "saved").mkdir()
    (folder / "saved" / "saved_model.pb").write_bytes(b"no graph")


SAVED = {**DISTILL, "teacher": "{tmp}/saved", "model": "r18_0.125x_sk0", "image_size": 8}
EXPORTED_TEACHERS = [
    Case(
        "an exported teacher without data",
        ("--dataset is missing", "--teacher={tmp}/saved is an export"),
        ("--dataset=folder:photos",),
        {**SAVED, "dataset": None},
        make=saved_model(bare=True),
    ),
    Case(
        "an exported teacher without a model",
        ("--model is missing", "--teacher={tmp}/saved"),
        ("--model=r50_1x_sk0",),
        {**SAVED, "model": None},
        make=saved_model(bare=True),
    ),
    Case(
        "an exported teacher without a size",
        ("--image_size is missing", "--teacher={tmp}/saved"),
        ("give it",),
        {**SAVED, "image_size": None},
        make=saved_model(bare=True),
    ),
    Case(
        "an exported teacher of other classes",
        ("--teacher={tmp}/saved has 4 classes", "digits has 10"),
        ("data with its classes, or another --teacher",),
        SAVED,
        make=saved_model(bare=True),
    ),
    Case(
        "an exported teacher without logits",
        ("--teacher={tmp}/saved has no logits", "features, shifted"),
        ("the export of a fine-tuned",),
        SAVED,
        make=saved_model(),
    ),
    Case(
        "an exported teacher that cannot be loaded",
        ("--teacher={tmp}/saved", "cannot be loaded"),
        ("export it again",),
        SAVED,
        make=cut_saved_model,
    ),
    Case(
        "the best checkpoint of an export",
        ("--teacher_checkpoint=best", "{tmp}/saved is an export"),
        ("leave it out",),
        {**SAVED, "teacher_checkpoint": "best"},
        make=saved_model(bare=True),
    ),
]
DISTILLATION = [
    Case(
        "neither a teacher nor data",
        ("--teacher is missing",),
        ("give the run directory",),
        {**DISTILL, "teacher": None, "dataset": None},
    ),
    Case("alpha below 0", ("--alpha=-0.1 ",), ("at least 0 and at most 1",), {**DISTILL, "alpha": -0.1}),
    Case("alpha above 1", ("--alpha=1.5 ",), ("at least 0 and at most 1",), {**DISTILL, "alpha": 1.5}),
    Case("alpha is no number", ("--alpha=nan ",), ("at least 0 and at most 1",), {**DISTILL, "alpha": "nan"}),
    Case("no temperature", ("--temperature=0.0 ",), ("above 0",), {**DISTILL, "temperature": 0}),
    Case("a negative temperature", ("--temperature=-1.0 ",), ("above 0",), {**DISTILL, "temperature": -1}),
    Case(
        "temperature is no number", ("--temperature=nan ",), ("above 0",), {**DISTILL, "temperature": "nan"}
    ),
    Case(
        "a labeled batch of one",
        ("--labeled_batch_size=1 ",),
        ("at least 2",),
        {**DISTILL, "alpha": 0.5, "labeled_batch_size": 1},
    ),
    Case(
        "options of a backbone on the teacher's network",
        ("--dense_layers", "--model=r18_0.125x_sk0"),
        ("keras:VGG16",),
        {**DISTILL, "dense_layers": 64},
    ),
    Case(
        "a backbone for images of the teacher's size",
        ("--image_size=8 ", "keras:VGG16"),
        ("at least 32",),
        {**DISTILL, "model": "keras:VGG16"},
    ),
    Case(
        "labels to distill on that are not there",
        ("--distill_on=some",),
        ("all, labeled",),
        {**DISTILL, "distill_on": "some"},
    ),
]
NETWORKS = [
    Case(
        "unknown backbone",
        ("'keras:VGG18'",),
        ("Did you mean keras:VGG1",),
        {**BACKBONE, "model": "keras:VGG18"},
    ),
    Case(
        "unknown student",
        ("'keras:ResNet5'",),
        ("Did you mean keras:ResNet50?",),
        {**DISTILL, "model": "keras:ResNet5"},
    ),
    Case(
        "a backbone without its prefix",
        ("'VGG16'",),
        ("did you mean keras:VGG16?",),
        {**SUPERVISED, "model": "VGG16"},
    ),
    Case(
        "a head of a source without a source",
        ("--init_head=fresh needs --init",),
        ("leave --init_head out",),
        {"init_head": "fresh"},
    ),
    Case(
        "a source without a head for pretraining",
        ("--init={runs}/headless", "no whole projection head"),
        ("--init_head=fresh",),
        {"init": "{runs}/headless", "model": None, "image_size": None},
    ),
    Case(
        "weights of a preset for keras.applications",
        ("--backbone_weights=preset", "keras:"),
        ("imagenet or a file",),
        {**BACKBONE, "backbone_weights": "preset"},
    ),
    *(
        Case(
            f"--remat of a backbone, {command['mode']}",
            ("--remat",),
            ("r50_1x_sk0",),
            {**command, "remat": True},
        )
        for command in (
            BACKBONE,
            {**DISTILL, "model": "keras:VGG16", "image_size": 32},
            {"mode": "pretrain", "model": "keras:VGG16", "image_size": 32},
        )
    ),
    Case(
        "images too small for a backbone",
        ("--image_size=31 ",),
        ("at least 32",),
        {**BACKBONE, "image_size": 31},
    ),
    *(
        Case(
            f"--{name} of a ResNet of ours",
            (f"--{name}", "--model=r18_0.125x_sk0"),
            ("keras:VGG16",),
            {**SUPERVISED, name: value},
        )
        for name, value in (("backbone_weights", "imagenet"), ("freeze_backbone", True), ("dense_layers", 64))
    ),
    *(
        Case(
            f"frozen batch normalization of random weights, {command['mode']}",
            ("--freeze_batch_norm", "random"),
            words,
            {**command, "freeze_batch_norm": True},
        )
        for command, words in (
            (BACKBONE, ("give --backbone_weights,",)),
            (DISTILL, ("give --init or --backbone_weights,",)),
        )
    ),
    Case(
        "dense layers of no width",
        ("--dense_layers=x",),
        ("such as 256,128",),
        {**BACKBONE, "dense_layers": "x"},
    ),
    Case(
        "dense layers of width 0",
        ("--dense_layers=0",),
        ("such as 256,128",),
        {**BACKBONE, "dense_layers": "0"},
    ),
    Case("an open list", ("--dense_layers=64,",), ("such as 256,128",), {**BACKBONE, "dense_layers": "64,"}),
    Case(
        "missing weights",
        ("--backbone_weights={tmp}/no.h5", "not found"),
        ("imagenet",),
        {**BACKBONE, "backbone_weights": "{tmp}/no.h5"},
    ),
    Case(
        "weights of an unknown kind",
        ("--backbone_weights=ImageNet",),
        ("imagenet", ".weights.h5"),
        {**BACKBONE, "backbone_weights": "ImageNet"},
    ),
    Case(
        "squeeze-and-excitation in a backbone",
        ("--se_ratio", "keras:VGG16"),
        ("0",),
        {**BACKBONE, "se_ratio": 0.25},
    ),
]
OPTIONS = [
    Case("unknown augmentation", ("--augment=foo", "'foo'"), ("crop, flip",), {**FINETUNE, "augment": "foo"}),
    Case(
        "misspelled augmentation",
        ("--augment=crop,colour", "'colour'"),
        ("did you mean color?",),
        {**FINETUNE, "augment": "crop,colour"},
    ),
    Case("an empty augmentation", ("--augment=crop,",), ("crop, flip",), {**SUPERVISED, "augment": "crop,"}),
    Case(
        "none and some", ("--augment=none,crop",), ("one of the two",), {**FINETUNE, "augment": "none,crop"}
    ),
    Case(
        "unknown start",
        ("--classifier_init=ones",),
        ("normal, zeros",),
        {**FINETUNE, "classifier_init": "ones"},
    ),
    Case(
        "all smoothed away", ("--label_smoothing=1.0 ",), ("below 1",), {**SUPERVISED, "label_smoothing": 1}
    ),
    Case("unknown protocol", ("--protocol=quick",), ("fast, paper",), {**LINEAR, "protocol": "quick"}),
    Case("no penalty", ("--logistic_c=0.0 ",), ("above 0",), {**FAST, "logistic_c": 0}),
    Case("no neighbors", ("--knn_k=0 ",), ("at least 1",), {**KNN, "knn_k": 0}),
    Case(
        "the flag of another mode",
        ("--knn_k does not belong to finetune",),
        ("pretrain, knn",),
        {**FINETUNE, "knn_k": 5},
    ),
    Case(
        "a teacher to fine-tune from",
        ("--teacher does not belong to finetune",),
        ("but to distill",),
        {**FINETUNE, "teacher": "{runs}/finetuned"},
    ),
    Case(
        "the recipe of another mode",
        ("--recipe=digits_demo", "is for pretrain, not for finetune"),
        ("choose one of", "digits_finetune"),
        {**FINETUNE, "recipe": "digits_demo"},
    ),
]
CHAIN_CASES = [*EARLIER_RUNS, *HEAD_LAYERS, *LABELS, *DISTILLATION, *EXPORTED_TEACHERS, *NETWORKS, *OPTIONS]

"""Layers that no selected endpoint needs are removed; the others return the same."""

import pytest

from simclr_keras.errors import InputError
from simclr_keras.export.remove_unused_layers import remove_unused_layers
from tests.export.networks import assert_close, images, make_network, outputs_of


@pytest.mark.parametrize(
    ("names", "heads", "logits"),
    [
        (["encoder"], 0, False),
        (["proj_head_2"], 2, False),
        (["logits"], 1, True),
        (["logits", "proj_head_3"], 3, True),
        (["encoder", "logits"], 1, True),
    ],
)
def test_it_has_what_is_needed_and_no_more(names, heads, logits):
    model = make_network(head_layer=1)
    smaller = remove_unused_layers(model, names)
    found, expected = outputs_of(smaller, images()), outputs_of(model, images())
    assert sorted(name for name in found if name.startswith("proj")) == [
        f"proj_head_{layer}" for layer in range(heads + 1)
    ]
    assert ("logits" in found) == logits
    for name, value in found.items():
        assert_close(value, expected[name])


def test_all_endpoints_are_the_network_itself():
    model = make_network()
    assert remove_unused_layers(model, None) is model


@pytest.mark.slow
def test_a_backbone_keeps_its_image_size():
    model = make_network("keras:MobileNet", image_size=32)
    smaller = remove_unused_layers(model, ["encoder"])
    assert smaller.classifier is None
    assert_close(
        outputs_of(smaller, images(2, 32, 32))["final_avg_pool"],
        outputs_of(model, images(2, 32, 32))["final_avg_pool"],
    )


@pytest.mark.parametrize("names", [["proj_head_4"], ["final_avg_pool"], []])
def test_what_is_not_there_is_refused_with_what_is(names):
    with pytest.raises(
        InputError,
        match=r"(has no endpoint|--endpoints is empty).*; give one or more of encoder, .*, logits, probabilities\.",
    ):
        remove_unused_layers(make_network(), names, "runs/x")

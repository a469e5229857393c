"""An export that differs from its network is not published."""

import numpy as np
import pytest

from simclr_keras.errors import TrainingError
from simclr_keras.export.endpoints import signature_endpoints
from simclr_keras.export.formats.comparison import difference
from simclr_keras.export.formats.saved_model import check_saved_model
from tests.export.networks import SIZE, images

pytestmark = pytest.mark.slow  # together, as each loads or makes networks


def signatures(network):
    return signature_endpoints(network(images(1)))


def test_a_good_one_passes_and_says_how_good(exported, network):
    report = check_saved_model(exported, network, SIZE, signatures(network))
    assert report["difference"] <= report["tolerance"] == 1e-5


@pytest.mark.parametrize("path", ["projection_head/bn3/moving_mean", "classifier/bias"])
def test_one_changed_weight_is_found(exported, network, path):
    variable = next(v for v in network.variables if v.path.endswith(path))
    before = variable.numpy()
    variable.assign(before + 1e-3)
    try:
        with pytest.raises(TrainingError, match="has other weights than the network"):
            check_saved_model(exported, network, SIZE, signatures(network))
    finally:
        variable.assign(before)


def test_a_signature_with_another_endpoint_is_found(exported, network):
    with pytest.raises(TrainingError, match="signature logits"):
        check_saved_model(exported, network, SIZE, {**signatures(network), "logits": "proj_head_3"})


def test_the_difference_is_in_units_of_the_largest_value():
    for values, expected in (
        ([1.0, 2.0, 4.0], 0.0),
        ([1.0, 2.5, 4.0], 0.125),
        ([1.0, np.nan, 4.0], np.inf),
        ([1.0, 2.0], np.inf),
        (None, np.inf),
    ):
        values = None if values is None else np.array(values, np.float32)
        assert difference(values, np.array([1.0, 2.0, 4.0], np.float32)) == expected

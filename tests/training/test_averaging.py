import numpy as np

import senet
from senet.training.averaging import Average
from tests.conftest import randomise


def test_the_average_follows_every_variable_by_its_equation():
    model = senet.create("se_resnet20_cifar", n_blocks=(1, 1, 1), classes=3)
    average = Average(model, 0.9)
    expected = model.get_weights()
    for n in range(12):
        randomise(model, seed=n)
        keep = min(0.9, (1 + n) / (10 + n))
        pairs = zip(expected, model.get_weights(), strict=True)
        expected = [keep * a + (1 - keep) * b for a, b in pairs]
        average.update(n)
    for found, wanted in zip(average.model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    image = np.zeros((1, 32, 32, 3), "float32")
    assert np.isfinite(average.model.predict_on_batch(image)).all()
    assert not np.allclose(average.model.get_weights()[0], model.get_weights()[0])

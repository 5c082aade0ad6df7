import keras
import numpy as np
import pytest

from senet.data.pipeline import Batch
from senet.training.averaging import Average
from senet.training.optimization import OptimizerSettings, make_optimizer
from senet.training.step import GuardedStep, compile_network, copy_value


def make_step(average=None, dropout=0.5, **options):
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(4, 3)(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(dropout)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax")(x))
    settings = OptimizerSettings(name="sgd", learning_rate=0.5)
    optimizer = make_optimizer(settings, model)
    compile_network(model, optimizer, 0.0)
    others = [v for v in model.variables if not v.trainable]
    average = Average(model, average) if average else None
    step = GuardedStep(model, optimizer, others=others, average=average, **options)
    return step, [*model.variables, *optimizer.variables]


def make_batch(value=1.0):
    images = np.random.default_rng(0).normal(size=(8, 4, 4, 3)).astype("float32")
    targets = np.eye(2, dtype="float32")[np.arange(8) % 2]
    return Batch(images * np.float32(value), targets, np.arange(8), np.arange(0))


def values(variables):
    return [copy_value(v) for v in variables]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_step_that_is_no_number_leaves_nothing_behind(value):
    step, variables = make_step()
    step(make_batch(), 0.1)
    before = values(variables)
    outcome = step(make_batch(value), 0.1)
    assert outcome.not_finite == "the loss"
    for one, other in zip(before, values(variables), strict=True):
        np.testing.assert_array_equal(one, other)
    assert step(make_batch(), 0.1).not_finite is None


def test_a_step_trains_at_the_rate_that_it_is_given():
    step, variables = make_step()
    before = values(variables)
    outcome = step(make_batch(), 0.25)
    assert float(copy_value(step.optimizer.learning_rate)) == 0.25
    assert np.isfinite(outcome.loss)
    assert 0 <= outcome.accuracy <= 1
    assert np.abs(before[0] - copy_value(variables[0])).max() > 0


def test_the_average_follows_what_is_kept():
    step, _ = make_step(average=0.5)
    start = step.average.model.get_weights()
    step(make_batch(np.nan), 0.1)
    for one, other in zip(start, step.average.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    step(make_batch(), 0.1)
    # the first update keeps (1 + 0) / (10 + 0) of the average
    trained, average = step.model.get_weights()[0], step.average.model.get_weights()[0]
    np.testing.assert_allclose(average, 0.1 * start[0] + 0.9 * trained, rtol=1e-5, atol=1e-7)


def test_weights_of_classes_count_in_the_loss():
    plain, _ = make_step(dropout=0.0)  # PyTorch draws masks from numbers of its own
    weighed, _ = make_step(dropout=0.0, class_weights=np.array([2.0, 2.0], "float32"))
    assert weighed(make_batch(), 0.0).loss == pytest.approx(2 * plain(make_batch(), 0.0).loss)

import dataclasses
import math

import keras
import numpy as np
import pytest

from senet.recipes.recipe import Recipe
from senet.training import optimization
from senet.training.optimization import Plateau, optimizers, rate_factors
from senet.training.setup import choose_optimizer_settings, choose_schedule


def little(**options):
    """A model of a convolution, a norm and a classifier, named as those of the family."""
    image = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(4, 3, name="stem_conv")(image)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    x = keras.layers.Conv2D(4, 1, name="stage1_block1_reduce_conv")(x)
    x = keras.layers.Conv2D(4, 1, name="stage2_block1_reduce_conv")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(2, name="classifier")(x), **options)


def make_optimizer(recipe, model):
    return optimization.make_optimizer(choose_optimizer_settings(recipe), model)


def apply(optimizer, gradients, model):
    """One update as Keras' training makes it on each backend."""
    variables = model.trainable_variables
    if keras.backend.backend() != "jax":
        optimizer.apply(gradients, variables)
        return
    state = [v.value for v in optimizer.variables]
    made = optimizer.stateless_apply(state, gradients, [v.value for v in variables])
    places = (*variables, *optimizer.variables)
    for variable, value in zip(places, (*made[0], *made[1]), strict=True):
        variable.assign(value)


def changed(recipe, gradient=1.0, steps=1, model=None):
    """How far each variable moves under constant gradients."""
    model = model or little()
    optimizer = make_optimizer(recipe, model)
    before = [w.copy() for w in map(keras.ops.convert_to_numpy, model.trainable_variables)]
    for _ in range(steps):
        gradients = [keras.ops.full(v.shape, gradient) for v in model.trainable_variables]
        apply(optimizer, gradients, model)
    return {
        v.path: keras.ops.convert_to_numpy(v) - b
        for v, b in zip(model.trainable_variables, before, strict=True)
    }


def values(optimizer):
    return [keras.ops.convert_to_numpy(v).copy() for v in optimizer.inner_optimizer.variables]


PLAIN = dict(momentum=0.0, nesterov=False, weight_decay=0.0, warmup=0.0)


def test_the_cosine_rises_linearly_and_falls_to_zero():
    rate = choose_schedule(Recipe(learning_rate=0.4, warmup=0.1), 1000)
    assert [rate(s) for s in (0, 49, 99, 100)] == pytest.approx([0.004, 0.2, 0.4, 0.4])
    assert rate(550) == pytest.approx(0.2)
    assert rate(1000) == pytest.approx(0, abs=1e-12)


def test_steps_drop_at_the_milestones_of_the_paper():
    rate = choose_schedule(Recipe.preset("paper"), 100)
    assert [rate(s) for s in (0, 29, 30, 59, 60, 90, 99)] == pytest.approx(
        [0.6, 0.6, 0.06, 0.06, 0.006, 0.0006, 0.0006]
    )


def test_the_plateau_drops_when_nothing_gets_better_and_remembers():
    recipe = Recipe(schedule="plateau", patience=2, warmup=0.0, decay_factor=0.5)
    rate, plateau = choose_schedule(recipe, 100), Plateau()
    for loss in (1.0, 0.9, 0.9):
        rate.note_loss(plateau, loss)
    assert rate(10, plateau.drops) == 0.1
    for remembered in (plateau, Plateau(**dataclasses.asdict(plateau))):
        rate.note_loss(remembered, math.nan)
        assert rate(10, remembered.drops) == 0.05
    assert choose_schedule(Recipe(schedule="constant", warmup=0.0), 10)(9) == 0.1


def test_every_optimizer_of_keras_trains():
    assert {"sgd", "adam", "adamw", "lion", "lamb", "rmsprop"} <= set(optimizers())
    for name in optimizers():
        moved = changed(Recipe(optimizer=name, weight_decay=0.0), steps=2)
        assert all(np.isfinite(m).all() and abs(m).max() > 0 for m in moved.values()), name
    with pytest.raises(ValueError, match=r"Unknown optimizer 'adamm'\. Did you mean 'adam'"):
        make_optimizer(Recipe(optimizer="adamm"), little())


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_kernels_decay_and_neither_norms_nor_biases(precision):
    recipe = Recipe(**PLAIN | dict(weight_decay=0.5, learning_rate=0.1, precision=precision))
    model = little()
    for variable in model.trainable_variables:
        variable.assign(keras.ops.ones(variable.shape))
    for path, moved in changed(recipe, 0.0, model=model).items():
        expected = -0.05 if path.endswith("kernel") else 0
        np.testing.assert_allclose(moved, expected, atol=1e-7, err_msg=path)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_decay_of_sgd_goes_through_its_momentum(accumulate):
    fields = dict(momentum=0.9, nesterov=False, learning_rate=0.1, reference_batch=0)
    recipe = Recipe(**PLAIN | fields | dict(weight_decay=0.01, accumulate=accumulate))
    model, weight, velocity = little(), 1.0, 0.0
    for variable in model.trainable_variables:
        variable.assign(keras.ops.ones(variable.shape))
    for _ in range(30):
        velocity = 0.9 * velocity - 0.1 * 0.01 * weight
        weight += velocity
    for path, moved in changed(recipe, 0.0, steps=30 * accumulate, model=model).items():
        expected = weight - 1 if path.endswith("kernel") else 0
        np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-7, err_msg=path)


def test_the_decay_of_others_is_beside_the_gradient_and_once_for_an_update():
    for accumulate in (1, 4):
        fields = dict(optimizer="adamw", weight_decay=0.5, reference_batch=0)
        model = little()
        for variable in model.trainable_variables:
            variable.assign(keras.ops.ones(variable.shape))
        recipe = Recipe(**PLAIN | fields | dict(accumulate=accumulate))
        for path, moved in changed(recipe, 0.0, steps=accumulate, model=model).items():
            expected = -0.05 if path.endswith("kernel") else 0
            np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-7, err_msg=path)


def test_optimizers_that_layer_wise_rates_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="in proportion to their learning rate"):
        make_optimizer(Recipe(optimizer="ftrl", layer_decay=0.5), little())


def test_gathered_gradients_make_one_update_of_their_mean():
    moved = changed(Recipe(**PLAIN, accumulate=4, reference_batch=0), 0.5, steps=3)
    assert all(abs(m).max() == 0 for m in moved.values())
    moved = changed(Recipe(**PLAIN, accumulate=4, reference_batch=0), 0.5, steps=4)
    for m in moved.values():
        np.testing.assert_allclose(m, -0.05, rtol=1e-5)


def test_gradients_are_clipped_by_their_norm_together():
    moved = changed(Recipe(**PLAIN, clip_norm=1.0))
    assert math.sqrt(sum((m**2).sum() for m in moved.values())) == pytest.approx(0.1)


def test_layers_far_from_the_classifier_learn_more_slowly():
    for path, moved in changed(Recipe(**PLAIN, layer_decay=0.5)).items():
        part = path.split("_")[0].split("/")[0]
        factor = dict(classifier=1, stage2=0.5, stage1=0.25, stem=0.125)[part]
        np.testing.assert_allclose(moved, -0.1 * factor, rtol=1e-5, err_msg=path)
    assert set(rate_factors(little(), 1.0).values()) == {1.0}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_gradients_that_are_no_numbers_change_nothing(value):
    model = little()
    optimizer = make_optimizer(Recipe(), model)
    assert float(keras.ops.convert_to_numpy(optimizer.dynamic_scale)) == 1
    before = model.get_weights() + values(optimizer)
    gradients = [keras.ops.ones(v.shape) for v in model.trainable_variables]
    gradients[1] = gradients[1] * value
    apply(optimizer, gradients, model)
    after = model.get_weights() + values(optimizer)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(keras.ops.convert_to_numpy(optimizer.dynamic_scale)) == 0.5

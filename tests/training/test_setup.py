import dataclasses

import keras
import numpy as np
import pytest

from senet.recipes.recipe import Recipe
from senet.recipes.resolving import fill_defaults
from senet.training import setup
from senet.training.distribution import Team
from senet.training.step import weigh_classes

FIELDS = dict(
    **dict(model="se_resnet20_cifar", size=32, batch_size=8, epochs=3, warmup=0.0),
    spec=dict(n_blocks=(1, 1), n_filters=(8, 16), ratio=4),
)


def set_up(photos, folder, team=None, **fields):
    recipe = Recipe(data=str(photos), **FIELDS | fields)
    data = setup.load_images(recipe)
    recipe = fill_defaults(recipe, data)
    with setup.configure_keras(recipe):
        network = setup.build_network(recipe, data)
        trained_on = setup.inspect_images(recipe, data, network)[0]
        return setup.make_run(recipe, folder, data, network, trained_on, team or Team())


def test_a_run_has_what_its_recipe_says(tmp_path, photos):
    run = set_up(photos, tmp_path, ema=0.9, on_nan="skip", save_minutes=2.0, learning_rate=0.2)
    assert (run.plan.epochs, run.plan.batch_size, run.plan.size) == (3, 8, 32)
    assert (run.plan.skip_steps, run.plan.save_seconds) == (True, 120)
    assert run.plan.peak_rule == "learning rate 0.2 x 8 x 1 / 64 = 0.025"
    assert run.schedule(0) == pytest.approx(0.025)
    assert run.state.steps_per_epoch == len(run.data.split("train")) // 8
    assert run.scored_model is run.average.model
    plain = set_up(photos, tmp_path, reference_batch=0)
    assert plain.plan.peak_rule is None
    assert plain.scored_model is plain.network.model


def computes_faster(model):
    """Whether it is a twin: what happens in a call is another graph."""
    return model.call.__self__ is not model


def test_what_is_trained_and_scored_is_the_twin_unless_the_recipe_says_otherwise(tmp_path, photos):
    for acceleration in (True, False):
        run = set_up(photos, tmp_path, acceleration=acceleration, ema=0.9)
        assert [computes_faster(m) for m in (run.step.model, run.scorer)] == [acceleration] * 2
        assert not run.network.model.compiled
        for model, view in ((run.network.model, run.step.model), (run.scored_model, run.scorer)):
            assert model.layers == view.layers
            assert not computes_faster(model)
        spread = set_up(photos, tmp_path, Team(devices=2), acceleration=acceleration)
        assert computes_faster(spread.validation.copy) is acceleration


def test_batches_of_an_epoch_do_not_depend_on_where_the_run_stands(tmp_path, photos):
    run = set_up(photos, tmp_path)
    first = next(iter(run.read_batches(epoch=0)))
    run.state.epoch = 2
    again = next(iter(run.read_batches(epoch=0)))
    other = next(iter(run.read_batches(epoch=2)))
    np.testing.assert_array_equal(first.images, again.images)
    assert not np.array_equal(first.indices, other.indices)
    assert run.state.epoch == 2


def test_frozen_layers_stay_and_are_not_copied_at_every_step(tmp_path, photos):
    run = set_up(photos, tmp_path, freeze=("stem*",))
    names = {v.path for v in run.network.model.trainable_variables}
    assert not any(name.startswith("stem") for name in names)
    kept = {v.path for v in run.step.others}
    assert "stem_bn/moving_mean" in kept
    assert "stem_conv/kernel" not in kept


@pytest.mark.parametrize(
    ("fields", "team", "message"),
    [
        (dict(accumulate=64), Team(), "accumulate gathers 64"),
        (dict(batch_size=7), Team(devices=2), "choose --batch-size 8"),
        (dict(freeze=("stage9*",)), Team(), "No layer is called 'stage9"),
        (dict(freeze=("*",)), Team(), "leaves nothing to train"),
    ],
)
def test_what_could_never_train_is_refused(tmp_path, photos, fields, team, message):
    with pytest.raises(ValueError, match=message):
        set_up(photos, tmp_path, team, **fields)


def test_keras_is_as_before_afterwards():
    recipe = Recipe(precision="mixed_bfloat16")
    with setup.configure_keras(recipe):
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        first = keras.random.uniform(())
    assert keras.config.dtype_policy().name == "float32"
    with setup.configure_keras(recipe):
        assert float(keras.random.uniform(())) == float(first)
    with setup.configure_keras(dataclasses.replace(recipe, seed=1)):
        assert float(keras.random.uniform(())) != float(first)


def test_rare_classes_weigh_more_and_the_mean_over_images_is_one():
    labels = np.array([0, 0, 0, 1])
    weights = weigh_classes(labels, 3)
    np.testing.assert_allclose(weights, [4 / 9, 4 / 3, 4 / 3], rtol=1e-6)
    two = weigh_classes(labels, 2)
    assert two[labels].mean() == pytest.approx(1)

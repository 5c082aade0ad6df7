"""The two programs of the seed, as written there, with only the import added."""

from keras import Input, Model

from tests.conftest import count_trainable


def test_se_resnet50_assembled_by_hand():
    from senet.models.se_resnet import classifier, learner, se_group, stem

    ratio = 16
    inputs = Input(shape=(224, 224, 3))
    x = stem(inputs)
    x = se_group(x, 3, 64, ratio, strides=(1, 1))
    x = se_group(x, 4, 128, ratio)
    x = se_group(x, 6, 256, ratio)
    x = se_group(x, 3, 512, ratio)
    outputs = classifier(x, 1000)
    model = Model(inputs, outputs)

    assert count_trainable(model) == 28_071_976
    assert model.output_shape == (None, 1000)
    assert x.shape == (None, 7, 7, 2048)

    in_one_call = Model(inputs, classifier(learner(stem(inputs), ratio), 1000))
    assert [v.shape for v in in_one_call.variables] == [v.shape for v in model.variables]


def test_se_resnext50_assembled_by_hand():
    from senet.models.se_resnext import classifier, learner, se_group, stem

    ratio = 16
    inputs = Input(shape=(224, 224, 3))
    x = stem(inputs)
    x = se_group(x, 3, 128, 256, ratio=ratio, strides=(1, 1))
    x = se_group(x, 4, 256, 512, ratio=ratio)
    x = se_group(x, 6, 512, 1024, ratio=ratio)
    x = se_group(x, 3, 1024, 2048, ratio=ratio)
    outputs = classifier(x, 1000)
    model = Model(inputs, outputs)

    assert count_trainable(model) == 27_543_848
    assert x.shape == (None, 7, 7, 2048)
    assert not [layer for layer in model.layers if type(layer).__name__ == "Lambda"]

    in_one_call = Model(inputs, classifier(learner(stem(inputs), ratio), 1000))
    assert [v.shape for v in in_one_call.variables] == [v.shape for v in model.variables]

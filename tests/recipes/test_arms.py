import pytest

from senet.recipes.arms import arms_of
from senet.recipes.recipe import Recipe


def test_arms_differ_in_one_thing():
    recipe = Recipe(spec={"stochastic_depth": 0.1})
    plain, se = arms_of(recipe)
    assert (plain.name, plain.recipe.spec) == ("plain", {"stochastic_depth": 0.1, "ratio": None})
    assert se.recipe == recipe
    arms = arms_of(recipe, "ratio=none,4,16")
    assert [arm.recipe.spec["ratio"] for arm in arms] == [None, 4, 16]
    assert [arm.recipe.mixup for arm in arms_of(recipe, "mixup=0,0.2")] == [0, 0.2]
    lists = arms_of(recipe, 'se_at=["stage1"],["stage1","stage2"]')
    assert [a.recipe.spec["se_at"] for a in lists] == [("stage1",), ("stage1", "stage2")]
    assert arms_of(recipe, "placement=pre,post")[1].recipe.spec["placement"] == "post"
    assert [a.recipe.label_smoothing for a in arms_of(recipe, "label-smoothing=0,0.1")] == [0, 0.1]


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("ratio", "field=value,value"),
        ("ratio=4", "field=value,value"),
        ("ration=4,8", "has a field 'ration'"),
        ("seed=1,2", "has a field 'seed'"),
        ("ratio=4,x", "ratio must be a positive integer"),
    ],
)
def test_what_cannot_be_varied_is_refused(vary, message):
    with pytest.raises(ValueError, match=message):
        arms_of(Recipe(), vary)
    with pytest.raises(ValueError, match="has no squeeze and excitation"):
        arms_of(Recipe(model="resnet20_cifar"))

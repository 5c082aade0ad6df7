import pytest

from senet.models import family
from senet.weights import catalogue

ROWS = catalogue.table()


def test_every_row_is_of_a_known_network_and_has_an_id_of_its_own():
    assert len({row.id for row in ROWS}) == len(ROWS) > 30
    assert {row.network for row in ROWS} <= set(family.names())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_says_where_its_file_lies_and_how_its_images_are_prepared(row):
    assert (row.repository is None) != (row.url is None)
    assert row.variant in family.VARIANTS
    family.named_spec(row.network, row.variant)
    made = row.preprocessing()
    assert made["size"] % 32 == 0
    assert 0.8 < made["crop_fraction"] <= 1
    assert 65 < row.top1 < row.top5 < 100
    if row.url:
        assert row.url.startswith("https://")
        assert row.sha256 in row.url


def test_all_rows_are_normalised_alike_so_that_a_tag_is_enough():
    assert len({(row.mean, row.std) for row in ROWS}) == 1


def test_the_default_is_the_best_score_at_its_own_size_among_those_on_the_hub():
    for network in {row.network for row in ROWS}:
        default = catalogue.published(network, "imagenet")
        rivals = [
            row
            for row in ROWS
            if row.network == network and row.repository and row.top1 and row.scored_at <= 256
        ]
        if rivals and default.top1:
            assert default.variant == "caffe" or default.top1 == max(
                row.top1 for row in rivals if row.variant == "torch"
            )
        elif rivals:
            raise AssertionError(network)


def test_names_that_do_not_exist_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"no weights 'ra_in1k' for se_resnet50.*mean 'ra2_in1k'"):
        catalogue.published("se_resnet50", "ra_in1k")
    with pytest.raises(ValueError, match="No weights are published for 'se_resnet20_cifar'"):
        catalogue.published("se_resnet20_cifar", "imagenet")


def test_images_are_prepared_as_their_publishers_say():
    ways = {r.id: (r.size, r.crop_fraction, r.interpolation) for r in ROWS}
    assert ways["se_resnet50.ra2_in1k"] == (224, 0.875, "bicubic")
    assert ways["se_resnet50.a1_in1k"] == (224, 0.95, "bicubic")
    assert ways["se_resnet50.a3_in1k"] == (160, 0.95, "bicubic")
    assert ways["se_resnet50.caffe_in1k"] == (224, 0.875, "bilinear")
    assert ways["se_resnet18.legacy_in1k"] == (224, 0.875, "bicubic")
    assert ways["se_resnet34.legacy_in1k"] == (224, 0.875, "bilinear")
    assert ways["resnet50.tv_in1k"] == (224, 0.875, "bilinear")

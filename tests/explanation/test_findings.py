import numpy as np
import pytest

from senet.explanation.findings import check_findings, label_block, split_into_stages
from tests.explanation.blocks import make_block


def test_the_findings_of_the_paper_are_found_where_they_are():
    blocks = [
        *(make_block(f"stage1_block{i}_se_scale", 64, 0.05) for i in (1, 2, 3)),
        *(make_block(f"stage2_block{i}_se_scale", 128, 0.4) for i in (1, 2, 3)),
        make_block("stage3_block1_se_scale", 256, 0.8),
        make_block("stage3_block2_se_scale", 256, 0.7, high=0.8, low=0.1),
    ]
    assert blocks[3].block_specificity == pytest.approx(0.4)
    early, deeper, late = check_findings(blocks)
    assert [f.answer for f in (early, deeper, late)] == ["yes", "yes", "yes"]
    assert "stage1_block1 to stage1_block3, 5% of what the gates vary lies" in early.found
    assert "in the last stage, stage3_block1 to stage3_block2, 75% of what" in deeper.found
    assert "it is 75% in the last stage and 5% in the first" in deeper.found
    assert late.found.startswith("90% of the gates of stage3_block2 are at an end")
    assert str(early).startswith("Early gates are class-agnostic. Yes: in the first stage with")
    for finding in (early, deeper, late):
        assert finding.rule
        assert finding.look


def test_the_findings_of_the_paper_are_not_found_where_they_are_not():
    blocks = [make_block(f"b{i}_se_scale", 8 * (i + 1), 0.9 - 0.2 * i, low=0.1) for i in range(4)]
    assert [f.answer for f in check_findings(blocks)] == ["no", "no", "no"]


def test_between_yes_and_no_a_finding_is_partly_there():
    blocks = [make_block(f"b{i}", 8 * (i + 1), 0.3 + 0.02 * i, high=0.3) for i in range(4)]
    assert [f.answer for f in check_findings(blocks)] == ["partly", "partly", "partly"]


def test_two_blocks_are_no_trend():
    early, deeper, _ = check_findings([make_block("a", 8, 0.1), make_block("b", 16, 0.9)])
    assert (early.answer, deeper.answer) == ("yes", "cannot be said")
    assert deeper.found == "fewer than three blocks are no trend."
    alone = check_findings([make_block("a", 8, 0.1, high=0.9)])
    assert [finding.answer for finding in alone] == ["cannot be said", "cannot be said", "yes"]
    assert alone[0].found == "there is one block, which is early and late."


def test_of_one_class_nothing_is_said_about_classes():
    blocks = [make_block(f"b{i}", 8 * (i + 1), classes=1, high=0.9) for i in range(3)]
    early, deeper, late = check_findings(blocks)
    assert [f.answer for f in (early, deeper, late)] == ["cannot be said", "cannot be said", "yes"]
    assert early.found == "all images are of one class."


def test_few_images_of_each_class_do_not_make_gates_class_specific():
    rng = np.random.default_rng(0)
    blocks = []
    for i in range(3):
        block = make_block(f"b{i}", 8 * (i + 1), classes=10)
        gates, labels = rng.random((15, len(block.largest))), np.arange(15) % 10
        blocks.append(type(block).empty(f"b{i}", (0.0, 1.0), 10, gates.shape[1]))
        blocks[-1].add(gates, labels, np.stack([rng.permutation(labels) for _ in range(5)]))
    assert min(block.block_specificity for block in blocks) > 0.5  # by chance alone
    assert [f.answer for f in check_findings(blocks)[:2]] == ["cannot be said"] * 2
    assert "15 images of 10 classes are too few" in check_findings(blocks)[0].found


def test_what_shuffled_labels_give_is_taken_off():
    block = make_block("a", 8, 0.4)
    away = 0.2 * np.sqrt(0.3)  # 30 % of the variance, with the labels shuffled
    block.shuffled_total = 50 * np.stack([[[0.5 - away] * 8, [0.5 + away] * 8]] * 5)
    np.testing.assert_allclose(block.shuffled_specificity, 0.3)
    assert block.specificity_beyond_chance == pytest.approx((0.4 - 0.3) / 0.7)
    early, *_ = check_findings([block, make_block("b", 16, 0.9)])
    assert early.answer == "yes"
    assert "40% of what the gates vary lies between classes; 30.0% would if" in early.found


def test_gates_that_hardly_vary_tell_no_classes_apart():
    blocks = [make_block(f"b{i}", 8 * (i + 1), 0.9, spread=0.001) for i in range(3)]
    early, deeper, _ = check_findings(blocks)
    assert early.answer == "yes"
    assert "hardly vary" in early.found
    assert deeper.answer == "no"


def test_blocks_that_hardly_vary_take_nothing_off_the_others():
    still = make_block("stage1_block1", 8, 0.9, spread=0.001)
    blocks = [still, make_block("stage1_block2", 8, 0.4), make_block("stage2_block1", 16, 0.9)]
    early, deeper, _ = check_findings(blocks)
    assert early.answer == "partly"
    assert "40% of what the gates vary" in early.found
    assert "(1 of 2 blocks hardly vary and do not count)" in early.found
    assert "over 2 blocks" in deeper.found


def test_too_few_images_are_too_few_whatever_the_first_block_does():
    blocks = [make_block(f"b{i}", 8 * (i + 1), 0.9, classes=10, images=1) for i in range(3)]
    blocks[0].squares = blocks[0].total ** 2  # it does not vary
    assert [f.answer for f in check_findings(blocks)[:2]] == ["cannot be said"] * 2


def test_stages_are_those_of_the_names_where_a_gate_comes_before_its_unit():
    names = [f"stage{i}_block{j}_se_scale" for i in (1, 2) for j in (1, 2)]
    blocks = [make_block(name, width) for name, width in zip(names, (8, 8, 8, 16), strict=True)]
    assert [len(stage) for stage in split_into_stages(blocks)] == [2, 2]


def test_a_stage_is_a_run_of_blocks_with_as_many_channels():
    blocks = [make_block(str(i), width) for i, width in enumerate((8, 8, 16, 16, 16, 32))]
    assert [len(stage) for stage in split_into_stages(blocks)] == [2, 3, 1]
    assert [len(stage) for stage in split_into_stages(blocks[:2])] == [1, 1]
    assert label_block("stage2_block3_se_scale") == "stage2_block3"
    assert label_block("mine") == "mine"

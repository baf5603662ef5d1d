"""How a data set is split, limited, standardised and identified."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.data.arrays import Arrays, data_set
from models.data.samples import DataError, DataSet, Samples, Split, final_split, search_split
from models.data.stratified import hold_out, subset

counts_of_classes = st.lists(st.integers(2, 40), min_size=2, max_size=6)


def labels(counts: list[int]) -> torch.Tensor:
    """In a mixed order."""
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]


def dataset(x: torch.Tensor, y: torch.Tensor) -> DataSet:
    return DataSet("made", Samples(x, y), Samples(x[:4] + 1, y[:4]), int(y.max()) + 1, "")


@given(counts_of_classes, st.floats(0.05, 0.95), st.integers(0, 2**32))
def test_a_split_is_a_partition_of_the_asked_size_that_keeps_each_class_on_both_sides_in_proportion(
    counts: list[int], share: float, seed: int
) -> None:
    y = labels(counts)
    held = round(share * len(y))
    if not len(counts) <= held <= len(y) - len(counts):
        with pytest.raises(DataError, match="each side needs at least one sample of each class"):
            hold_out(y, len(counts), share, seed, "data.validation")
        return
    kept, held_out = hold_out(y, len(counts), share, seed, "data.validation")
    assert sorted([*kept.tolist(), *held_out.tolist()]) == list(range(len(y)))
    assert len(held_out) == held
    for label, count in enumerate(counts):
        drawn = int((y[held_out] == label).sum())
        assert 1 <= drawn < count
        alone = 1 < share * count < count - 1 and min(share * c for c in counts) >= 1
        if alone and max(share * c - (c - 1) for c in counts) <= 0:
            assert abs(drawn - share * count) < 1


@given(counts_of_classes, st.data())
def test_a_limit_draws_exactly_so_many_with_every_class(counts: list[int], data: st.DataObject) -> None:
    y = labels(counts)
    limit = data.draw(st.integers(len(counts), len(y)))
    chosen = subset(y, len(counts), limit, seed=0)
    assert len(set(chosen.tolist())) == limit
    assert set(y[chosen].tolist()) == set(range(len(counts)))


def test_a_split_depends_on_its_seed_alone_and_not_on_the_global_generator() -> None:
    y = labels([30, 30])
    torch.manual_seed(1)
    first = hold_out(y, 2, 0.5, 7, "data.validation")
    torch.manual_seed(2)
    again = hold_out(y, 2, 0.5, 7, "data.validation")
    other = hold_out(y, 2, 0.5, 8, "data.validation")
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


@pytest.mark.parametrize(
    ("counts", "share", "numbers"),
    [
        ([1, 1, 1], 0.5, "class 0 has 1 of the 3 samples in 3 classes"),
        ([9, 1], 0.2, "class 1 has 1 of the 10 samples in 2 classes"),
        ([9, 0], 0.2, "class 1 has 0 of the 9 samples in 2 classes"),
        ([3, 3, 3], 0.2, "0.2 of 9 samples in 3 classes holds out 2 and keeps 7"),
        ([3, 3, 3], 0.8, "0.8 of 9 samples in 3 classes holds out 7 and keeps 2"),
    ],
)
def test_too_few_samples_for_a_split_are_refused_with_the_numbers(
    counts: list[int], share: float, numbers: str
) -> None:
    with pytest.raises(DataError, match=rf"data.validation: {numbers}"):
        hold_out(labels(counts), len(counts), share, 0, "data.validation")


@pytest.mark.parametrize("limit", [1, 21])
def test_a_limit_below_the_classes_or_above_the_samples_is_refused(limit: int) -> None:
    with pytest.raises(DataError, match=rf"data.limit: {limit} is not allowed; it must be between 2 .* and 20 "):
        subset(labels([10, 10]), 2, limit, 0)


def test_features_are_standardised_by_the_training_samples_alone() -> None:
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 50, 0.01]) + 7
    whole = dataset(x, labels([100, 100]))
    split = search_split(whole, 0.25, seed=3)
    assert torch.allclose(split.train.x.mean(0), torch.zeros(3), atol=1e-4)
    assert torch.allclose(split.train.x.std(0, correction=0), torch.ones(3), atol=1e-4)
    kept, held_out = hold_out(whole.train.y, 2, 0.25, 3, "data.validation")
    mean, deviation = x[kept].mean(0), x[kept].std(0, correction=0)
    assert torch.allclose(split.held_out.x, (x[held_out] - mean) / deviation, atol=1e-4)
    assert torch.equal(split.held_out.y, whole.train.y[held_out])


def test_images_are_standardised_per_channel() -> None:
    x = torch.rand(20, 2, 4, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 200]).view(2, 1, 1)
    split = final_split(dataset(x, labels([10, 10])))
    assert torch.allclose(split.train.x.mean((0, 2, 3)), torch.zeros(2), atol=1e-5)
    assert torch.allclose(split.train.x.std((0, 2, 3), correction=0), torch.ones(2), atol=1e-5)
    inside = split.train.x[:, 0, 0, 0]
    assert not torch.allclose(inside.mean(), torch.zeros(()), atol=1e-3), "one mean per channel, not per pixel"


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30, -3.3e7])
def test_a_constant_feature_becomes_zero_and_is_divided_by_one(value: float) -> None:
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    x[:, 1] = value
    whole = dataset(x, labels([25, 25]))
    split = final_split(whole)
    assert torch.equal(split.train.x[:, 1], torch.zeros(50))
    assert torch.equal(split.held_out.x[:, 1], whole.test.x[:, 1] - value)


def test_the_final_split_learns_from_train_and_validation_and_is_measured_on_the_test_part() -> None:
    whole = dataset(torch.randn(40, 2), labels([20, 20]))
    split = final_split(whole)
    assert isinstance(split, Split)
    assert (len(split.train), len(split.held_out), split.classes, split.input_shape) == (40, 4, 2, (2,))
    assert torch.equal(split.held_out.y, whole.test.y)


def test_splitting_leaves_the_loaded_data_as_it_was() -> None:
    whole = dataset(torch.randn(40, 2) + 5, labels([20, 20]))
    before = whole.train.x.clone()
    search_split(whole, 0.2, 0)
    final_split(whole)
    assert torch.equal(whole.train.x, before)


def arrays(**changed: object) -> Arrays:
    x = np.arange(80, dtype=np.float32).reshape(20, 4)
    return Arrays(**{"x": x, "y": np.arange(20) % 2, **changed})  # type: ignore[arg-type]


def test_equal_content_has_an_equal_hash_and_any_change_another() -> None:
    reference = data_set("one", arrays(), None, None, 0).hash
    assert data_set("two", arrays(), None, None, 0).hash == reference
    changed = arrays()
    changed.x[3, 2] += 1
    others = [
        data_set("one", changed, None, None, 0),
        data_set("one", arrays(y=(np.arange(20) + 1) % 2), None, None, 0),
        data_set("one", arrays(), None, 8, 0),
        data_set("one", arrays(x=np.arange(80, dtype=np.float32).reshape(20, 1, 2, 2)), None, None, 0),
    ]
    assert len({reference, *(each.hash for each in others)}) == 5


def test_without_an_official_test_part_a_stratified_fifth_is_held_out_or_the_share_asked() -> None:
    assert len(data_set("made", arrays(), None, None, 0).test) == 4
    assert len(data_set("made", arrays(), 0.5, None, 0).test) == 10
    assert data_set("made", arrays(), 0.5, None, 0).test.y.tolist().count(0) == 5


def test_the_official_test_part_is_kept_whole_and_a_share_beside_it_is_refused() -> None:
    official = arrays(x_test=np.ones((6, 4), np.float32), y_test=np.array([0, 1, 1, 0, 1, 1]))
    loaded = data_set("made", official, None, 10, 0)
    assert (len(loaded.train), len(loaded.test), loaded.test.y.tolist()) == (10, 6, [0, 1, 1, 0, 1, 1])
    with pytest.raises(DataError, match=r"data.test: 0.3 is not allowed; made has an official test part of 6"):
        data_set("made", official, 0.3, None, 0)


@pytest.mark.parametrize(
    ("y", "codes"),
    [
        (["b", "a"] * 10, [1, 0]),
        ([b"b", b"a"] * 10, [1, 0]),
        (["10", "9"] * 10, [1, 0]),
        ([7.0, -3.0] * 10, [1, 0]),
        ([True, False] * 10, [1, 0]),
    ],
)
def test_labels_are_numbered_in_the_order_of_numbers_or_of_the_alphabet(y: list[object], codes: list[int]) -> None:
    loaded = data_set("made", arrays(y=np.array(y), x_test=arrays().x[:2], y_test=np.array(y[:2])), None, None, 0)
    assert loaded.train.y[:2].tolist() == codes
    assert loaded.test.y.tolist() == codes
    assert loaded.classes == 2


@pytest.mark.parametrize(
    ("x_shape", "input_shape"),
    [
        ((20, 5), (5,)),
        ((20, 6, 7), (1, 6, 7)),
        ((20, 3, 6, 7), (3, 6, 7)),
        ((20, 6, 7, 3), (3, 6, 7)),
        ((20, 1, 28, 1), (1, 28, 1)),
        ((20, 16, 6, 7), (16, 6, 7)),
    ],
)
def test_images_have_their_channels_first(x_shape: tuple[int, ...], input_shape: tuple[int, ...]) -> None:
    assert data_set("made", arrays(x=np.zeros(x_shape, np.uint8)), None, None, 0).input_shape == input_shape


def test_moving_the_channels_first_moves_the_pixels_with_them() -> None:
    x = np.random.default_rng(0).integers(0, 255, (20, 6, 7, 3), np.uint8)
    moved = data_set("made", arrays(x=x, x_test=x[:2], y_test=np.array([0, 1])), None, None, 0)
    assert np.array_equal(moved.train.x[:, 1].numpy(), x[..., 1])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"y": np.zeros(20, int)}, "all 20 labels are 0; there must be at least 2 classes"),
        ({"y": np.arange(19) % 2}, r"20 inputs, but labels of shape \(19,\)"),
        ({"y": np.zeros((20, 2), int)}, r"labels of shape \(20, 2\)"),
        ({"y": np.linspace(0, 1, 20)}, "label .* in row 1 is not a whole number"),
        ({"y": np.full(20, np.nan)}, "label nan in row 0 is not a whole number"),
        ({"y": np.zeros(20, complex)}, "labels have type complex128"),
        ({"x": np.zeros((0, 4)), "y": np.zeros(0)}, r"x has shape \(0, 4\)"),
        ({"x": np.zeros((20, 0))}, r"x has shape \(20, 0\)"),
        ({"x": np.zeros(20)}, r"x has shape \(20,\)"),
        ({"x": np.zeros((20, 4), complex)}, "x has type complex128; it must be numeric"),
        ({"x": np.full((20, 4), "a")}, "it must be numeric"),
        ({"x": np.where(np.arange(80) == 13, np.nan, 1).reshape(20, 4)}, "not a finite number .* in row 3, position 1"),
        ({"x": np.full((20, 4), 1e300)}, "not a finite number .* in row 0, position 0"),
        ({"x_test": np.zeros((2, 5)), "y_test": np.array([0, 1])}, r"shape \(4,\), test inputs \(5,\)"),
        ({"x_test": np.zeros((2, 4)), "y_test": np.array([0, 2])}, "class 2 is in the test part and not in the train"),
        ({"x_test": np.zeros((3, 4)), "y_test": np.array([0, 1])}, r"\(test part\): 3 inputs"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused_with_the_reason(changed: dict[str, object], reason: str) -> None:
    with pytest.raises(DataError, match=rf"^made.*{reason}"):
        data_set("made", arrays(**changed), None, None, 0)

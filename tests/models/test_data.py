"""What every data setting promises, and the sets that need no file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from test_data_openml import cached

from models.data import MNIST1D, AnyData, Bundled, Files, OpenML, Text, Upload
from models.data.samples import DataError, final_split, search_split
from models.types import members

SETTINGS: dict[type, list[dict[str, Any]]] = {
    Bundled: [{"name": name} for name in ("digits", "breast_cancer", "wine", "iris")],
    MNIST1D: [{"samples": 500}],
    Files: [{"kind": "files", "name": "made.npz"}],
    OpenML: [{"kind": "openml", "dataset": 7}],
}
EVERY = [
    (member, fields)
    for member in members(AnyData)
    if member not in (Text, Upload)  # tested in files of their own
    for fields in SETTINGS[member]
]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = cached(tmp_path_factory.mktemp("data"))
    noise = np.random.default_rng(0)
    np.savez(folder / "made.npz", x=noise.random((60, 4, 5)), y=np.arange(60) % 3)
    return folder


@pytest.mark.parametrize(("member", "fields"), EVERY, ids=lambda value: getattr(value, "__name__", str(value)))
def test_loading_is_pure_and_yields_finite_numbers_and_numbered_classes(
    member: Any, fields: dict[str, Any], data_dir: Path
) -> None:
    setting = member(**fields)
    first, again = setting.load(data_dir, 3), setting.load(data_dir, 3)
    assert first.hash == again.hash
    assert torch.equal(first.train.x, again.train.x)
    for samples in (first.train, first.test):
        assert samples.x.dtype == torch.float32
        assert samples.y.dtype == torch.int64
        assert samples.x.shape == (len(samples), *first.input_shape)
        assert samples.x.isfinite().all()
    assert len(first.input_shape) in (1, 3)
    assert first.train.y.unique().tolist() == list(range(first.classes))
    limited = member(**fields, limit=2 * first.classes).load(data_dir, 3)
    assert len(limited.train) == 2 * first.classes
    assert torch.equal(limited.test.x, first.test.x), "the limit leaves the test part alone"
    for split in (search_split(first, setting.validation, 3), final_split(first)):
        assert split.input_shape == first.input_shape
        assert split.held_out.y.unique().tolist() == list(range(first.classes))


def test_digits_are_images_and_the_other_bundled_sets_vectors() -> None:
    shapes = {
        name: Bundled(name=name).load(None, 0).input_shape for name in ("digits", "breast_cancer", "wine", "iris")
    }
    assert shapes == {"digits": (1, 8, 8), "breast_cancer": (30,), "wine": (13,), "iris": (4,)}


def test_another_job_seed_holds_out_another_test_part() -> None:
    assert Bundled().load(None, 0).hash != Bundled().load(None, 1).hash


def test_an_unknown_bundled_set_is_refused_with_those_there_are() -> None:
    with pytest.raises(DataError, match=r"'mnist' is not allowed; it must be one of digits, breast_cancer, wine, iris"):
        Bundled(name="mnist").load(None, 0)  # type: ignore[arg-type]


def test_mnist1d_has_its_published_shape_and_an_official_test_part() -> None:
    loaded = MNIST1D().load(None, 0)
    assert (len(loaded.train), len(loaded.test), loaded.input_shape, loaded.classes) == (4000, 1000, (40,), 10)
    assert torch.bincount(torch.cat([loaded.train.y, loaded.test.y])).tolist() == [500] * 10
    assert loaded.hash == MNIST1D().load(None, 1).hash, "its own seed makes it, not the job's"
    assert loaded.hash != MNIST1D(seed=43).load(None, 0).hash
    with pytest.raises(DataError, match=r"data.test: 0.2 is not allowed; mnist1d has an official test part"):
        MNIST1D(test=0.2).load(None, 0)


def test_mnist1d_is_as_hard_for_a_linear_model_as_published() -> None:
    split = final_split(MNIST1D().load(None, 0))
    linear = LogisticRegression(max_iter=300).fit(split.train.x.numpy(), split.train.y.numpy())
    accuracy = linear.score(split.held_out.x.numpy(), split.held_out.y.numpy())
    assert 0.27 < accuracy < 0.38  # published: 32 %

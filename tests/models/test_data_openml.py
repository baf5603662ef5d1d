"""OpenML through scikit-learn's real loading code, from a cache that the test writes; the network is never used."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from models.data import OpenML
from models.data.samples import DataError

FLOWERS = [f"{each}.5,{each % 7},{'red' if each % 3 else 'blue'},{'a' if each % 2 else 'b'}" for each in range(20)]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network in tests")

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", refuse)
    monkeypatch.setattr("time.sleep", lambda _: None)


def feature(index: int, name: str, kind: str, target: bool = False) -> dict[str, Any]:
    return {
        "index": str(index),
        "name": name,
        "data_type": kind,
        "is_target": str(target).lower(),
        "is_ignore": "false",
        "is_row_identifier": "false",
        "number_of_missing_values": "0",
    }


def cached(folder: Path, rows: list[str] = FLOWERS, targets: int = 1, md5: str | None = None) -> Path:
    """The data set `flowers`, number 7, in the layout of scikit-learn's cache."""
    arff = "\n".join(
        [
            "@RELATION flowers",
            "@ATTRIBUTE height REAL",
            "@ATTRIBUTE petals INTEGER",
            "@ATTRIBUTE colour {red,blue}",
            "@ATTRIBUTE class {a,b}",
            "@DATA",
            *rows,
        ]
    )
    kinds = ("height", "numeric"), ("petals", "numeric"), ("colour", "nominal"), ("class", "nominal")
    features = [feature(at, name, kind, at >= 4 - targets) for at, (name, kind) in enumerate(kinds)]
    description = {
        "id": "7",
        "name": "flowers",
        "version": "1",
        "description": "made for a test",
        "format": "ARFF",
        "status": "active",
        "url": "https://www.openml.org/data/v1/download/7/flowers.arff",
        "md5_checksum": md5 or hashlib.md5(arff.encode()).hexdigest(),
    }
    listing = {"data": {"dataset": [{"did": 7, "name": "flowers", "version": 1, "status": "active"}]}}
    qualities = {"data_qualities": {"quality": [{"name": "NumberOfInstances", "value": str(len(rows))}]}}
    files = {
        "api/v1/json/data/list/data_name/flowers/limit/2/status/active/": json.dumps(listing),
        "api/v1/json/data/7": json.dumps({"data_set_description": description}),
        "api/v1/json/data/features/7": json.dumps({"data_features": {"feature": features}}),
        "api/v1/json/data/qualities/7": json.dumps(qualities),
        "data/v1/download/7/flowers.arff": arff,
    }
    for path, text in files.items():
        file = folder / "openml" / "openml.org" / f"{path}.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(text.encode()))
    return folder


@pytest.mark.parametrize("dataset", [7, "flowers", "Flowers"])
def test_a_data_set_is_read_by_number_and_by_name(tmp_path: Path, dataset: int | str) -> None:
    loaded = OpenML("openml", dataset).load(cached(tmp_path), seed=0)
    assert (len(loaded.train), len(loaded.test), loaded.input_shape, loaded.classes) == (16, 4, (3,), 2)
    rows = {(*x.tolist(), y) for x, y in zip(loaded.train.x, loaded.train.y.tolist(), strict=True)}
    assert rows <= {(each + 0.5, each % 7, 0 if each % 3 else 1, 0 if each % 2 else 1) for each in range(20)}


def test_the_target_column_can_be_chosen(tmp_path: Path) -> None:
    loaded = OpenML("openml", 7, target="petals", test=0.5, limit=8).load(cached(tmp_path), seed=0)
    assert (loaded.classes, loaded.input_shape, len(loaded.train)) == (7, (3,), 8)


def test_scikit_learns_own_data_home_is_used_where_the_data_directory_has_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(cached(tmp_path / "home")))
    (tmp_path / "data").mkdir()
    assert len(OpenML("openml", 7).load(tmp_path / "data", seed=0).train) == 16
    assert len(OpenML("openml", 7).load(None, seed=0).train) == 16


@pytest.mark.parametrize("dataset", ["../../../etc/passwd", "a/b", "..", "", "a b", "a?b", "a%2fb", ".hidden"])
def test_a_name_that_could_be_a_path_or_an_address_is_refused(tmp_path: Path, dataset: str) -> None:
    with pytest.raises(DataError, match=r"^data.dataset: .* is not allowed; it must be a number or a plain name"):
        OpenML("openml", dataset).load(cached(tmp_path), seed=0)


@pytest.mark.filterwarnings("ignore:A network error occurred")
@pytest.mark.parametrize("dataset", [8, "trees"])
def test_a_data_set_that_cannot_be_had_is_refused_with_the_reason(tmp_path: Path, dataset: int | str) -> None:
    with pytest.raises(
        DataError, match=rf"^data.dataset: {dataset!r} of OpenML cannot be loaded .*no network in tests"
    ):
        OpenML("openml", dataset).load(cached(tmp_path), seed=0)


@pytest.mark.filterwarnings("ignore:Invalid cache", "ignore:A network error occurred")
def test_a_damaged_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"of OpenML cannot be loaded"):
        OpenML("openml", 7).load(cached(tmp_path, md5="0" * 32), seed=0)


def test_a_missing_value_is_refused_with_its_place(tmp_path: Path) -> None:
    rows = [*FLOWERS[:5], "?,1,red,a", *FLOWERS[6:]]
    with pytest.raises(DataError, match=r"openml 7: x is not a finite number .* in row 5, position 0"):
        OpenML("openml", 7).load(cached(tmp_path, rows), seed=0)


def test_several_target_columns_ask_for_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.target: openml 7 has \['colour', 'class'\] as target columns"):
        OpenML("openml", 7).load(cached(tmp_path, targets=2), seed=0)


def test_an_unknown_target_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Could not find target_column='species'"):
        OpenML("openml", 7, target="species").load(cached(tmp_path), seed=0)


def test_a_target_that_is_no_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"label 0.5 in row 0 is not a whole number"):
        OpenML("openml", 7, target="height").load(cached(tmp_path), seed=0)

from pathlib import Path

import pytest

from app.cli.specfile import InvalidFile, read


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"name" "x"}', "line 1, column 9: expecting ':' delimiter"),
        ('{\n "name": "x"\n "seed": 1\n}', "line 3, column 2: expecting ',' delimiter"),
        ("", "line 1, column 1"),
        ("[1, 2]", r"a job is a JSON object \{...\}, not \[1, 2\]"),
        ('{"seed": 1, "seed": 2}', "the field 'seed' is given twice"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_json_object_is_refused_with_the_place(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "job.json"
    file.write_text(text)
    with pytest.raises(InvalidFile, match=words) as caught:
        read(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(("number", "shown"), [("NaN", "nan"), ("-Infinity", "-inf"), ("1e999", "inf")])
def test_a_number_that_is_not_finite_is_named_by_its_field(tmp_path: Path, number: str, shown: str) -> None:
    file = tmp_path / "job.json"
    file.write_text('{"network": {"widths": [3, %s]}}' % number)  # noqa: UP031  the text is full of braces
    with pytest.raises(InvalidFile) as caught:
        read(file)
    message = f"{shown} is not allowed; it must be a finite number"
    assert caught.value.errors == [{"field": "network.widths.1", "value": shown, "message": message}]


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match=r"absent\.json: cannot be read: no such file"):
        read(tmp_path / "absent.json")
    with pytest.raises(InvalidFile, match="is a directory"):
        read(tmp_path)
    (tmp_path / "latin").write_bytes(b'{"name": "\xe9"}')
    with pytest.raises(InvalidFile, match=r"UTF-8 \(byte 10\)"):
        read(tmp_path / "latin")

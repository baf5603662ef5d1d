"""Writes all rows of a state's two databases as JSON: how the files beside this one were made, each by its release.

python tests/app/released/record.py STATE_DIR > tests/app/released/REVISION.json
"""

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any


def rows(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Per table its rows; JSON columns stay text."""
    database = sqlite3.connect(file)
    database.row_factory = sqlite3.Row
    names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()]
    found = {
        name: [dict(row) for row in database.execute(f'SELECT * FROM "{name}"')]
        for name in names
        if not name.startswith("sqlite_")
    }
    database.close()
    return found


if __name__ == "__main__":
    state = Path(sys.argv[1])
    json.dump({name: rows(state / f"{name}.db") for name in ("app", "optuna")}, sys.stdout, indent=1)

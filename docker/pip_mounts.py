"""This machine's way to its package index, for a build: pip's settings in one file, and the local paths they name.

Usage: python -m pip config list | pip_mounts.py PIP_CONF    prints buildah's --volume options, one per line
"""

import ast
import sys
from pathlib import Path

settings = {}
for line in sys.stdin:
    name, _, value = line.strip().partition("=")
    settings[name.rpartition(".")[2]] = ast.literal_eval(value)  # pip lists the environment last, and it wins

mounts = set()
for word in " ".join(map(str, settings.values())).split():
    path = Path(word.removeprefix("file://"))
    if path.is_absolute() and path.exists():
        # The files of an index may lie beside its pages.
        mounts.add(path.parent if word.startswith("file://") else path)

lines = ["[global]", *(f"{name} = {value}" for name, value in settings.items())]
conf = Path(sys.argv[1])
conf.touch(mode=0o600)  # an index may be named with a password
conf.write_text("\n".join(lines) + "\n")
for path in sorted(mounts):
    print(f"--volume={path}:{path}:ro")

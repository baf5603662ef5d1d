"""Continues every checkpoint of a folder in a process of its own: `python resume.py FOLDER`."""

import sys
from pathlib import Path

import torch
from small_problem import IMAGE, classes_in_space

from models.checkpoint import load, save

torch.set_num_threads(1)
for path in sorted(Path(sys.argv[1]).glob("*.half")):
    run = load(path, classes_in_space((12,) if "mlp" in path.name else IMAGE))
    list(run.train())
    save(run, path.with_suffix(".resumed"))

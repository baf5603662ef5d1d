"""Data sets: where they come from, how they are split and standardised."""

from typing import Annotated

from models.data.bundled import Bundled as Bundled
from models.data.files import Files as Files
from models.data.mnist1d import MNIST1D as MNIST1D
from models.data.openml import OpenML as OpenML
from models.data.text import Text as Text
from models.data.upload import Upload as Upload
from models.types import ByKind

AnyData = Annotated[Bundled | MNIST1D | Files | OpenML | Text | Upload, ByKind()]

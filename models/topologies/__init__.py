"""Where connections start. One file each; the union below is the registry."""

from typing import Annotated

from models.topologies.random import Random as Random
from models.topologies.topology import Topology as Topology
from models.types import ByKind

AnyTopology = Annotated[Random, ByKind()]

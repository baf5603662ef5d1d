"""Where connections start. One file each; the union below is the registry."""

from typing import Annotated

from models.topologies.dictating import Dictating as Dictating
from models.topologies.erdos_renyi import ErdosRenyi as ErdosRenyi
from models.topologies.expander import Expander as Expander
from models.topologies.given import Given as Given
from models.topologies.grasp import GraSP as GraSP
from models.topologies.magnitude import Magnitude as Magnitude
from models.topologies.obd import OBD as OBD
from models.topologies.radix_net import RadixNet as RadixNet
from models.topologies.random import Random as Random
from models.topologies.scoring import Scoring as Scoring
from models.topologies.snip import SNIP as SNIP
from models.topologies.synflow import SynFlow as SynFlow
from models.topologies.topology import Topology as Topology
from models.types import ByKind

AnyTopology = Annotated[
    Random | ErdosRenyi | RadixNet | Expander | Magnitude | SNIP | GraSP | SynFlow | OBD | Given, ByKind()
]

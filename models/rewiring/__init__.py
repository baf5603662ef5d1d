"""Which connections are dropped and grown while the network learns. One file each; the union is the registry."""

from typing import Annotated

from models.rewiring.dsr import DSR as DSR
from models.rewiring.gradual import Gradual as Gradual
from models.rewiring.iterative import Iterative as Iterative
from models.rewiring.momentum import SparseMomentum as SparseMomentum
from models.rewiring.neuron_set import NeuronSET as NeuronSET
from models.rewiring.one_shot import OneShot as OneShot
from models.rewiring.pruning import Pruning as Pruning
from models.rewiring.rewiring import Asked as Asked
from models.rewiring.rewiring import Moment as Moment
from models.rewiring.rewiring import Rewired as Rewired
from models.rewiring.rewiring import Rewiring as Rewiring
from models.rewiring.rigl import RigL as RigL
from models.rewiring.set import SET as SET
from models.rewiring.static import Static as Static
from models.types import ByKind

AnyRewiring = Annotated[
    Static | SET | RigL | DSR | SparseMomentum | OneShot | Gradual | Iterative | NeuronSET, ByKind()
]

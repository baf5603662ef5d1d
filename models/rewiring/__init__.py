"""Which connections are dropped and grown while the network learns. One file each; the union is the registry."""

from typing import Annotated

from models.rewiring.rewiring import Asked as Asked
from models.rewiring.rewiring import Moment as Moment
from models.rewiring.rewiring import Rewired as Rewired
from models.rewiring.rewiring import Rewiring as Rewiring
from models.rewiring.set import SET as SET
from models.rewiring.static import Static as Static
from models.types import ByKind

AnyRewiring = Annotated[Static | SET, ByKind()]

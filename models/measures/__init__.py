"""What may be measured of a trained network besides what every training reports; the union is the registry."""

from typing import Annotated

from models.measures.dead_neurons import DeadNeurons as DeadNeurons
from models.measures.gap import Gap as Gap
from models.measures.gradient_norms import GradientNorms as GradientNorms
from models.measures.measure import Measure as Measure
from models.measures.measure import Trained as Trained
from models.measures.noise import Noise as Noise
from models.measures.sharpness import Sharpness as Sharpness
from models.measures.topology import Topology as Topology
from models.types import ByKind

AnyMeasure = Annotated[Sharpness | Noise | DeadNeurons | Gap | GradientNorms | Topology, ByKind()]

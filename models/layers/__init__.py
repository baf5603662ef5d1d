"""Layers whose weights have active and absent connections, and what goes between them."""

from models.layers.activations import activation as activation
from models.layers.conv import SparseConv2d as SparseConv2d
from models.layers.dropout import Dropout as Dropout
from models.layers.initialisation import initialise as initialise
from models.layers.linear import SparseLinear as SparseLinear
from models.layers.sparse import SparseLayer as SparseLayer
from models.layers.sparse import sparse_layers as sparse_layers

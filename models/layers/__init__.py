"""Layers whose weights have active and absent connections, and what goes between them."""

from models.layers.activations import activation as activation
from models.layers.batch_norm import BatchNorm1d as BatchNorm1d
from models.layers.batch_norm import BatchNorm2d as BatchNorm2d
from models.layers.conv import SparseConv2d as SparseConv2d
from models.layers.dropout import Dropout as Dropout
from models.layers.embedding import SparseEmbedding as SparseEmbedding
from models.layers.initialisation import initialise as initialise
from models.layers.layer_norm import LayerNorm as LayerNorm
from models.layers.linear import SparseLinear as SparseLinear
from models.layers.pool import MaxPool2d as MaxPool2d
from models.layers.recurrent import SparseGRU as SparseGRU
from models.layers.recurrent import SparseLSTM as SparseLSTM
from models.layers.recurrent import SparseRecurrent as SparseRecurrent
from models.layers.sparse import SparseLayer as SparseLayer
from models.layers.sparse import sparse_layers as sparse_layers

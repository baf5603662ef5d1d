"""Network families: what a job may ask for. One file each; the union is the registry."""

from typing import Annotated

from models.networks.lenet import LeNet5 as LeNet5
from models.networks.lenet import LeNet300100 as LeNet300100
from models.networks.mlp import MLP as MLP
from models.networks.network import Network as Network
from models.networks.recurrent import GRU as GRU
from models.networks.recurrent import LSTM as LSTM
from models.networks.resnet import ResNet as ResNet
from models.networks.vgg import VGG as VGG
from models.types import ByKind

AnyNetwork = Annotated[MLP | LeNet300100 | LeNet5 | VGG | ResNet | LSTM | GRU, ByKind()]

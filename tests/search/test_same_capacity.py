import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_stubs import CNN

from models.networks import MLP, VGG, LeNet5, LeNet300100, ResNet
from search.capacity import macs, same_capacity, weights

FAMILIES = [
    (MLP(widths=(30, 20)), (64,)),
    (LeNet300100(), (784,)),
    (VGG(channels=(16, 32, 64), stride=2, widths=(128,)), (1, 28, 28)),
    (LeNet5(), (1, 28, 28)),
    (ResNet(), (3, 32, 32)),
]


@pytest.mark.parametrize(("network", "shape"), FAMILIES, ids=lambda each: getattr(each, "kind", ""))
def test_no_scaling_that_fits_is_larger(network, shape):
    scaled = [weights(network.scaled(step / 500).layers(shape, 10)) for step in range(1, 501)]
    for share in (0.05, 0.1, 0.5, 1.0):
        most = round(share * scaled[-1])
        total = weights(same_capacity(network, shape, 10, most).layers(shape, 10))
        assert max(size for size in scaled if size <= most) <= total <= most


@settings(max_examples=20)
@given(st.integers(10_000, 266_200))
def test_the_dense_network_of_lenets_capacity_never_exceeds_it(most):
    found = same_capacity(LeNet300100(), (784,), 10, most)
    assert weights(found.layers((784,), 10)) <= most


def test_a_network_with_fewer_weights_than_hidden_widths_of_one_has_none():
    # 784 + 1 + 10 weights at widths of one
    assert same_capacity(LeNet300100(), (784,), 10, 794) is None
    assert weights(same_capacity(LeNet300100(), (784,), 10, 795).layers((784,), 10)) == 795


def test_a_weight_counts_once_for_every_position_it_serves():
    assert macs(CNN, (1, 1, 1, 1, 1)) == 196 + 49 + 16 + 1 + 1

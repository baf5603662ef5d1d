import pytest
import torch
from torch.nn import functional as F

from models.augmentation import augment, refuse_vectors
from models.recipe import Augmentation
from models.seeds import generator


def images(count: int = 200) -> torch.Tensor:
    return torch.rand(count, 2, 5, 6, generator=generator(0, "images")) + 0.1


def moved(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    padded = F.pad(image, (2, 2, 2, 2))
    return padded[:, 2 - down : 7 - down, 2 - right : 8 - right]


def test_every_image_is_shifted_as_a_whole_and_zeros_move_in() -> None:
    x = images()
    shifted = augment(x, Augmentation(shift=2), generator(0, "augmentation"))
    ways = {(down, right) for down in range(-2, 3) for right in range(-2, 3)}
    found = set()
    for before, after in zip(x, shifted, strict=True):
        matching = [way for way in ways if torch.equal(moved(before, *way), after)]
        assert len(matching) == 1
        found.add(matching[0])
    assert found == ways


def test_half_of_the_images_are_mirrored() -> None:
    x = images(1000)
    flipped = augment(x, Augmentation(flip=True), generator(0, "augmentation"))
    mirrored = (flipped == x.flip(-1)).flatten(1).all(dim=1)
    assert bool((mirrored ^ (flipped == x).flatten(1).all(dim=1)).all())
    assert 0.4 < mirrored.float().mean() < 0.6


def test_the_same_stream_gives_the_same_images_and_the_next_batch_others() -> None:
    stream, setting = generator(3, "augmentation"), Augmentation(shift=1, flip=True)
    first, second = augment(images(), setting, stream), augment(images(), setting, stream)
    assert torch.equal(first, augment(images(), setting, generator(3, "augmentation")))
    assert not torch.equal(first, second)


def test_vectors_are_refused_where_images_are_to_be_augmented() -> None:
    with pytest.raises(ValueError, match=r"augmentation needs images .* \(64,\)"):
        refuse_vectors(Augmentation(flip=True), (64,))
    refuse_vectors(Augmentation(), (64,))

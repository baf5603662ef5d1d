"""How the connections that grow are shared out over the layers."""

from collections.abc import Sequence

from models.allocation import whole_counts


def shared_out(total: int, weights: Sequence[float], room: Sequence[int]) -> tuple[int, ...]:
    """`total` in proportion to `weights`, to the largest remainder, and none above its `room`.

    What a layer has no room for goes to the others in the same proportion; to those without weight only at the last.

    Raises: ValueError where there is not so much room
    """
    targets, open_layers, left = [0.0] * len(room), set(range(len(room))), total
    while whole := sum(weights[layer] for layer in open_layers):
        fair = {layer: left * weights[layer] / whole for layer in open_layers}
        over = {layer for layer in open_layers if fair[layer] > room[layer]}
        for layer in over or open_layers:
            targets[layer] = min(fair[layer], room[layer])
        if not over:
            break
        open_layers -= over
        left -= sum(room[layer] for layer in over)
    return whole_counts(targets, room, total)

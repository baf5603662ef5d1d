"""`snas bench`: what this machine can do."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from app import state
from app.cli.options import STATE_DIR, StateDir

bench = typer.Typer(name="bench", help="Measure what this machine can do.", no_args_is_help=True, rich_markup_mode=None)

MIB = 2**20


@bench.command()
def calibrate(state_dir: StateDir = STATE_DIR) -> None:
    """Measure up to which density compressed weights train faster than masked ones here, for the workers on --state.

    Takes about a minute on a quiet machine. Without it they use numbers measured elsewhere.
    """
    from models import calibration
    from search.trials import prepare_process

    prepare_process()
    file = state.crossover_file(state_dir)
    calibration.calibrate(typer.echo).write(file)
    typer.echo(f"kept in {file}")


@bench.command()
def million(
    width: Annotated[int, typer.Option(min=10, help="Neurons of each of the three hidden layers.")] = 30_000,
    epsilon: Annotated[float, typer.Option(min=0.1, help="Erdős–Rényi: connections per neuron.")] = 10.0,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of 135 samples, each followed by a rewiring.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Train and rewire 3312-N-N-N-5, an Erdős–Rényi perceptron of up to a million neurons.

    At --width 300000 there are 903,317 neurons and 16.7 million connections.
    """
    from models import million
    from search.trials import prepare_process

    prepare_process()
    for found in million.epochs(width, epsilon, batch_size, epochs):
        if as_json:
            typer.echo(json.dumps(asdict(found)))
        elif isinstance(found, million.Built):
            typer.echo(f"{found.neurons:,} neurons, {found.weights:,} connections, built in {found.seconds:.2f} s")
        else:
            typer.echo(
                f"epoch: {found.training:.3f} s of training + {found.rewiring:.3f} s of rewiring"
                f" ({found.churn:.1%} replaced), peak memory {found.peak / MIB:,.0f} MiB"
            )

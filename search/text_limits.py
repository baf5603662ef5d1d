"""What a job on a text cannot have, and what only such a job can."""

from models.data import Text
from models.networks import LanguageModel
from models.topologies import Scoring
from search.faults import fault
from search.spec import SCORES, JobSpec


def refuse_unreadable(spec: JobSpec) -> None:
    """A text is for language models alone, and they for it. Raises: InvalidSpec"""
    reads, text = isinstance(spec.network, LanguageModel), isinstance(spec.data, Text)
    if text and not reads:
        raise fault("network.kind", spec.network.kind, "the data are a text; it must be language_model")
    if reads and not text:
        raise fault("network.kind", spec.network.kind, f"it reads a text, and the data are {spec.data.kind}, not text")


def refuse_unsuitable_text(spec: JobSpec, windows: int) -> None:
    """windows: that a trial of the search learns from. Raises: InvalidSpec"""
    if not isinstance(spec.data, Text):
        if "perplexity" in spec.search.objectives:
            raise fault(
                "search.objectives", list(spec.search.objectives), "perplexity is that of a text; it may be loss"
            )
        return
    if spec.training.loss != "cross_entropy":
        raise fault("training.loss", spec.training.loss, "with a text it must be cross_entropy")
    if isinstance(spec.topology, Scoring):
        allowed = (
            "it looks at samples or values one by one; with a text it must be random, erdos_renyi, expander or given"
        )
        raise fault("topology.kind", spec.topology.kind, allowed)
    _refuse_what_looks_at_samples(spec)
    streams = spec.training.batch_size
    if streams > windows:
        raise fault(
            "training.batch_size",
            streams,
            f"it must be at most {windows}, the windows that a trial learns from: each stream needs one at least",
        )


def _refuse_what_looks_at_samples(spec: JobSpec) -> None:
    """A window means something only after the one before it."""
    if "latency" in spec.search.objectives:
        raise fault("search.objectives", list(spec.search.objectives), "latency is not measured on a text")
    scored = [name for name in spec.search.starts or () if name in SCORES]
    if scored:
        raise fault(
            "search.starts", list(spec.search.starts or ()), f"{scored[0]} looks at samples one by one, not text"
        )
    if spec.measures:
        kinds = [measure.kind for measure in spec.measures]
        raise fault("measures", kinds, "none of them is taken on a text")

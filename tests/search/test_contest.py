"""How the winner compares with the other arms."""

from search_stubs import complete, job

from search import contest
from search.arms import Contestant
from search.points import Assignment

COUNTS = (20_000, 6_000, 620)


def test_a_winner_that_equals_a_rule_is_that_start_even_if_the_search_found_it():
    spec = job()

    def arm(name: str, same_as: str | None = None) -> Contestant:
        return Contestant(name, spec.network, spec.rewiring, (COUNTS,) * 2, same_as=same_as)

    runs = [
        complete(spec, Assignment("final", seed, seed, "snas", 7, spec.network, spec.rewiring, COUNTS), 0.9)
        for seed in range(2)
    ]
    found = contest.results((arm("snas"), arm("start", same_as="snas")), runs, "accuracy")
    compared = contest.against_starts(found, own=None, rival="erk")
    assert compared is not None
    assert compared.winner_is_start
    assert compared.name == "erk"

"""Workers, trainers, reaper and server are killed all the time: no trial is lost, none is done twice."""

from pathlib import Path

import chaos
import pytest
import stores


@pytest.mark.slow
@pytest.mark.parametrize("store", stores.NAMES)
def test_no_trial_is_lost_or_doubled_whoever_is_killed(store: str, tmp_path: Path) -> None:
    with stores.database_url(store) as url:
        print(chaos.rehearse(chaos.sleeping(60), store, tmp_path, url, workers=6))


@pytest.mark.slow
def test_nor_where_trials_are_trained_and_confirmed(tmp_path: Path) -> None:
    print(chaos.rehearse(chaos.training(12), "sqlite", tmp_path, None, workers=3))

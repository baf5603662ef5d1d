"""Trainings of one shape taken in lockstep, as one batched masked program: the way to fill a GPU."""

from models.cohorts.cohort import Cohort as Cohort

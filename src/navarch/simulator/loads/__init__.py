"""Loads: what wants to run on a twin's pools, over time.

==============  ==============================================================================
`shapes`        made-up loads: constant, ramp, steps, diurnal, bursty, and sums of them
`traced`        a load that was measured, read from a file
`gangs`         training jobs in virtual time: queue, gangs, checkpoints, restarts
`goodput`       what became of paid GPU time, and what theory expects of it
`training`      the jobs on a twin: who may run where, and what kills them
`reading`       values of a mapping that somebody wrote, each with a clear refusal
`written`       loads and jobs as scenarios write them
==============  ==============================================================================
"""

from navarch.simulator.loads.gangs import JobSpec
from navarch.simulator.loads.goodput import TrainingReport
from navarch.simulator.loads.training import Training
from navarch.simulator.loads.written import demand_of, jobs_of

__all__ = ["JobSpec", "Training", "TrainingReport", "demand_of", "jobs_of"]

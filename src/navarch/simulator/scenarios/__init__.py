"""Scenarios: a fleet, what happens to it and what must come of it, written as YAML.

==================  ==========================================================================
`schema`            what may be written: every key, its type, its default and its meaning
`clouds_schema`     the same of ``providers`` and ``server``
`stress_schema`     the same of ``stress``
`events_schema`     the same of ``events`` and ``assertions``
`reading`           from a file to a `Scenario`, or to every mistake in it
`mistakes`          what can be wrong between keys that are right one by one
`targets`           whom an event or an assertion is about
`building`          from a scenario to the blueprint of a twin
`startup`           when each node of a fleet starts
`chaos`             faults that come by themselves, spread, and end
`director`          lets the events happen
`judging`           whether an assertion holds, and what was seen
`running`           one run, and what came of it
==================  ==========================================================================
"""

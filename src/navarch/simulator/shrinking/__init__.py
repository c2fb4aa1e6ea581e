"""Shrinking: from a run that fails to the smallest one found that still fails in the same way.

==============  =================================================================================
`reducing`      delta debugging, whatever it is that is reduced, within limits
`failures`      what it means to fail in the same way
`unrolling`     made-up fleets and chaos, written out as nodes and events
`scenarios`     a scenario and a seed become a smaller scenario
`worlds`        a world of the crash sweep becomes a quieter one
==============  =================================================================================
"""

"""Repair: putting lost and sick nodes right without ever making things worse.

======================  ====================================================================
`breaker`               stops repair where many nodes are in trouble together
`budget`                how many nodes a pool may lose to repair at one time, and in an hour
`candidates`            who may be repaired now, and what stands in the way of the others
`ladder`                which remedy is due: reset, reboot, replace, or a person
`beginning`             begins the repairs that candidates, budget and breaker allow
`in_place`              resets and reboots: drained, done, on probation, over
`replacing`             condemned machines: replaced, then drained, then ended
======================  ====================================================================

A node that is to be replaced is *condemned* first: it no longer counts, so its pool buys another,
and only when the other one serves is the old one drained and ended. Everything waits for the
verdict to be confirmed, stays inside the budget of the pool, and stops when the breaker opens.
"""

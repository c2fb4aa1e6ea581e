"""The decisions of Navarch: pure functions over facts.

Nothing here reads a clock, the network, chance or a logger. Time, messages and dice arrive as
arguments, facts and reasons leave as values. So every decision can be tested by calling it, and
any decision ever taken can be taken again from the journal.

The verbs, in the order in which one step uses them:

======================  ===========================================================
`interpret.interpret`   a message arrived: what did we learn?
`fold.apply`            a fact: the only function that changes the fleet
`decide.decide`         the whole state: what do we want, and why?
`owed.owed`             the whole state: which effects does it owe the world?
`machine.Machine`       the four of them in a row
======================  ===========================================================
"""

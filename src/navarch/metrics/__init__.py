"""Metrics sources: who is asked how busy a pool is, and how good each answer is.

Import the protocol from `navarch.metrics.base`. A source never guesses: what it does not know is
absent, what it cannot ask is an error, and neither is ever a zero. Sources do not know each other;
`navarch.metrics.merged` makes one of several.
"""

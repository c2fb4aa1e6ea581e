"""Notifiers: how the system that places work hears of a cordon or a drain before it happens.

Import the protocol from `navarch.notifiers.base`. Notifiers do not know each other, and none of
them decides anything: each tells one workload system, and says what came back.
"""

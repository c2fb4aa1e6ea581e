"""Asking others: HTTP APIs and programs, with deadlines, limits, and one error for all failures.

What asks, be it a metrics source or a notifier, knows what the answers mean; what is here knows
how to get one, and leaves nothing behind when it gets none. It knows nothing of the fleet.
"""

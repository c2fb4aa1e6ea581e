"""Sellers of machines: the protocol they keep, and one module for each of them.

Import the protocol from `navarch.providers.base`. Providers do not know each other, and all but
the fake one are named by `navarch.wiring` alone.
"""

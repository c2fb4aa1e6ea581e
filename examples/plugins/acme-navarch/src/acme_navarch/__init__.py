"""Acme's plugins for Navarch: one of each kind of the serving plane, each in a module."""

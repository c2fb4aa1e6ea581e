"""A whole fleet in virtual time: the product's own decisions in a world made of dice.

`world` is one run: time moves along its `timeline`, and `server`, `agents`, `clouds` and
`operators` live in it. `faults` says what goes wrong, `crashes` where the control plane dies,
`checks` (with `books` of its own) what must hold nevertheless, and `sweep` tries many of both.
`dice` is the only holder of chance.
"""

"""A whole fleet in virtual time: the product's own decisions in a world made of dice.

`world` is one run: time moves along its `timeline`, and `server`, `agents`, `clouds` and
`operators` live in it. `faults` says what goes wrong, `markets` who sells and when not, `networks`
what comes through, `conduct` how agents misbehave, `disks` when nothing can be written,
`autoscaling` which loads there are to follow, `crashes` where the control plane dies. `checks`
(with `books` of its own, and the `..._rules`) says what must hold nevertheless, and `sweep` tries
many of all of it; `coverage` says what that has seen, by the names of `incidents`. `dice` is the
only holder of chance.
"""

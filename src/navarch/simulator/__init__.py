"""A whole fleet in virtual time: the product's own decisions in a world made of dice.

`world` is one run: time moves along its `timeline`, and `server`, `agents`, `clouds` and
`operators` live in it. `faults` says what goes wrong, `markets` who sells and when not,
`autoscaling` which loads there are to follow, `crashes` where the control plane dies. `checks`
(with `books` of its own, and the `..._rules`) says what must hold nevertheless, and `sweep` tries
many of all of it. `dice` is the only holder of chance.
"""

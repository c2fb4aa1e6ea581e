"""Where facts are kept, so that a control plane that dies has lost nothing.

A store has two faces (`base`): the *journal*, which one control plane appends to and folds after a
restart, and the *history*, which everyone else reads. `memory` keeps the bytes of one process, for
the simulator and for tests; `sqlite` keeps one file on one machine, and is the default; `postgres`
keeps a schema of a database, which several control planes share.

The journal is history, not a buffer. Snapshots bound how much must be replayed; the facts before
them stay, until retention (`forget`) removes the oldest, and are what `events`, `explain` and
replays read.

Nothing is imported here: which store is used is for the wiring to choose, and each is imported
only when it is.
"""

"""The shell around the core: one loop that takes messages, journals facts and performs effects.

=================  ========================================================================
`clock`            the only reader of time
`inbox`            what waits to be looked at, bounded
`runtime`          the loop: take, step, append, answer, perform
`effects`          asks providers, and turns every outcome into a message
`service`          the remote calls, as messages and readings
`control_plane`    all of it in one object, to start and to stop
=================  ========================================================================

Nothing here decides. Whatever can fail, fails into a message or ends the process, and ending is
always safe.
"""

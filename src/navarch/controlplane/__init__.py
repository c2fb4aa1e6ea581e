"""The shell around the core: one loop that takes messages, journals facts and performs effects.

====================  =====================================================================
`clock`               the only reader of time
`inbox`               what waits to be looked at, bounded
`runtime`             the loop: take, step, append, answer, perform
`effects`             asks providers, and turns every outcome into a message
`service`             the remote calls, as messages and readings
`pool_manager`        asks autoscalers, through `asking`; `demand` is what heartbeats say
`instance_manager`    instances as records, and callbacks
`control_plane`       all of it in one object, to start and to stop
`pool`                a pool as an object; used alone it has the loop of `solo`
`founding`            the one chance in a fleet's life
====================  =====================================================================

Nothing here decides. Whatever can fail, fails into a message or ends the process, and ending is
always safe.
"""

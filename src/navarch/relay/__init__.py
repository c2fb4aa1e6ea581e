"""A relay: it stands between the agents of a rack and the control plane, and speaks for them.

Agents call it exactly as they would call a control plane. Their heartbeats are answered at once and
go upwards together; everything else is passed on as it came. It keeps nothing on disk: whatever a
killed relay knew, the next calls teach the next one.

=============  ==============================================================================
`gathering`    the heartbeats that wait for the next batch, the newest of each node
`roster`       what is known of nodes: whose token was checked, for whom commands wait
`verdicts`     what an answer from upstream means, and how long to wait after a failure
`uplink`       calls to the control plane, at whichever of its addresses answers
`flushing`     batches on their way up, and what their answers teach
`app`          the HTTP surface that agents see
`quick`        the heartbeats and polls that are answered at the connection
`answering`    the answers that the relay words itself
`counting`     what ``/metrics`` shows
`settings`     how a relay is started
`daemon`       the process
=============  ==============================================================================

`gathering`, `roster` and `verdicts` are pure: time arrives as a number of seconds of some clock
that never goes backwards, chance as a number.
"""

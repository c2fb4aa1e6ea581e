"""``navarch top``: the fleet in a terminal, live.

`command` is what the command line knows. `watching` asks the control plane, in threads of its own,
and keeps what it learned in `seen`; `shown` says in words and colours what that means. `once`
prints it; `app` is the only part that knows Textual, together with `board`, `detail` and `dialogs`,
and is imported when a terminal is there to draw on.
"""

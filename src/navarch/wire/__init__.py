"""The remote surface: what travels between nodes, operators and the control plane, and how.

============  =======================================================================
`proto/`      the definition: names and numbers that peers elsewhere rely on
`generated/`  the code that `tools/generate_wire.py` makes of it
`limits`      how large a request may be, and what an id looks like
`codec`       protobuf messages to the core's values and back
`queries`     what a caller wants to read
`auth`        who calls, and what each caller may do
`calls`       what holds for every call: authentication, counting, errors
`asgi`        the application: routes, health answers and the calls behind them
`listener`    sockets, connection time-outs and uvicorn's settings
`client`      the small client that the command line and the agent use
============  =======================================================================

`client` imports none of the others, so that a command starts at once.
"""

"""Which concrete parts a running Navarch is made of; the only package that names them.

It holds what the commands `up`, `server`, `agent` and `relay` do: build the parts that the
configuration asks for, serve until told to stop, and take everything down in order. Each returns
the exit code and raises a `NavarchError` of one clear line when it cannot begin.

::

    plans            what a control plane process is built from, for each command
    parts            stores and rankers made from it
    providers        providers made from it, and what a pool's type means to each
    first_scripts    what machines run first: an agent
    provider_types   what providers sell, with the catalogue's prices
    provider_checks  whether one could buy from them
    autoscalers      autoscalers made from the configuration
    metrics          metrics sources made from the configuration
    plugins          classes of others, found by name and checked
    scaling          which pool is scaled by what, put in place and replaced
    reload           another configuration while running
    running          the commands themselves
    logs             what the process writes to its standard error
"""

from __future__ import annotations

from navarch.wiring.running import run_agent, run_relay, run_server, run_up

__all__ = ["run_agent", "run_relay", "run_server", "run_up"]

#!/bin/bash
# Several hosts on one machine: a network namespace for each, joined by a bridge.
#
#   hosts.sh up   BRIDGE SUBNET HOST=LAST_BYTE...     hosts.sh up nv0 10.77.0 srv=1 ag1=11
#   hosts.sh down BRIDGE HOST...                      hosts.sh down nv0 srv ag1
#
# Needs root and iproute2. Names of links have at most 15 characters: BRIDGE-HOST is one.
# A program runs on a host by `ip netns exec BRIDGE-HOST command`.
set -eu

verb=$1 bridge=$2
shift 2

add_host() { # NAME ADDRESS
  local space=$bridge-$1
  ip netns add "$space"
  ip link add "$space" type veth peer name eth0 netns "$space"
  ip link set "$space" master "$bridge" up
  ip -n "$space" addr add "$2/24" dev eth0
  ip -n "$space" link set eth0 up
  ip -n "$space" link set lo up
}

case $verb in
up)
  subnet=$1
  shift
  ip link add "$bridge" type bridge
  ip link set "$bridge" up
  for pair in "$@"; do add_host "${pair%%=*}" "$subnet.${pair##*=}"; done
  ;;
down)
  for host in "$@"; do
    ip link del "$bridge-$host" || true # the links of a namespace outlive it for a moment
    ip netns del "$bridge-$host" || true
  done
  ip link del "$bridge" || true
  ;;
esac

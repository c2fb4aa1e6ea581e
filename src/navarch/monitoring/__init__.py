"""What Prometheus and Grafana are told about a fleet: rules, alerts and dashboards, as values.

The files in ``deploy/prometheus`` and ``deploy/grafana`` are written from here, by the command
``navarch monitoring``. Rules are values, so that tests can hold each expression against a real
Prometheus, each alert against its runbook, and each name against docs/metrics.md. Nothing here
knows the control plane: all that connects the two is the names of metrics.

=============== ==============================================================================
`rules`         what a rule, an alert and a group of them is, and how they are written
`recordings`    the numbers that Prometheus reckons beforehand, for alerts and long ranges
`alerts`        what is worth somebody's attention, by part of the fleet
`grafana`       panels, variables and dashboards, and how they are written
`boards`        the dashboards
`scraping`      a configuration of Prometheus to begin with
`files`         all of them as files
=============== ==============================================================================
"""

"""The report of a run of a twin: recorded while it runs, written as JSON and as one HTML page.

==============  ==============================================================================
`recorder`      watches a run, and makes the report
`model`         the report as values, and the JSON document
`census`        which machine is in which state
`samples`       what was counted over time
`truth`         which nodes were out, and what was made of it
`ledger`        what was decided, held against the truth
`chains`        facts tied to what they follow from
`costs`         what the machines cost
==============  ==============================================================================
"""

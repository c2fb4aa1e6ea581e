"""The report of a run of a twin: recorded while it runs, written as JSON and as one HTML page.

::

    twin = Twin(blueprint, seed)
    recorder = Recorder(twin)
    twin.run()
    write(recorder.report(), folder, twin.journal)

==============  ==============================================================================
`recorder`      watches a run, and makes the report
`model`         the report as values, and the JSON document
`writing`       files in a folder, and the table for a terminal
`page`          the HTML page, with `figures`, `page.css` and `page.js`
`demanded`      its parts about what a scenario demands, and its jobs
`census`        which machine is in which state
`samples`       what was counted over time
`truth`         which nodes were out, and what was made of it
`ledger`        what was decided, held against the truth
`chains`        facts tied to what they follow from
`costs`         what the machines cost
==============  ==============================================================================
"""

from navarch.simulator.report.model import Report, report_from_json, report_json, report_schema
from navarch.simulator.report.recorder import Recorder
from navarch.simulator.report.writing import summary_lines, write

__all__ = [
    "Recorder",
    "Report",
    "report_from_json",
    "report_json",
    "report_schema",
    "summary_lines",
    "write",
]

"""The past of a fleet, for charts: read off the journal, counted, and kept in memory.

==============  ==================================================================================
`lives`         the stages of each machine's life, and who was in which of them when
`decisions`     facts that change what a pool wants, buys or may do, as marks on a chart
`chronicle`     both of them, read off the journal once and kept up to date by whoever looks
`series`        bounded columns of points for a chart
`uses`          what GPUs were used for, and what machines cost: measured, not journaled
==============  ==================================================================================
"""

"""What-if runs: a user's own configuration in a simulated world, and variants of it compared.

::

    rates        how often what fails, and how long spot machines stay, with sources
    profiles     which faults come how often
    sellers      the clouds of a configuration: boot times, limits, prices
    preparing    a configuration becomes a blueprint
    loads        demand from traces
    varying      variants of a file, by their keys
    measures     what a run came to
    asking       a whole comparison, from a file to its outcome
    running      variants × seeds, in processes or on Ray
    comparing    means, confidence, and which is better
    telling      the comparison as text and as a document
"""

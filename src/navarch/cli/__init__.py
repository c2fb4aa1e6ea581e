"""The command line: ``navarch``.

`main` is the program. Each other module holds the commands of one subject and what they print. The
rule: nothing but click and the standard library's small modules is imported before a command runs,
so that ``navarch --help`` takes less than a tenth of a second.
"""

"""The pages of ``docs/reference``, each written from the code that it describes.

A module has one page: ``PAGE``, its place below ``docs/reference``, and ``page()``, its text. What
a page is made of is a value that `page` takes, so that a test may plant something in it. The pages
are committed; ``tools/generate_docs.py`` writes them, and a test compares them.
"""

"""The nouns: what a fleet is made of, what is said about it, and what is done to it.

Values are frozen structs; only `fleet.Fleet` changes, and only through `navarch.core.fold`.
"""

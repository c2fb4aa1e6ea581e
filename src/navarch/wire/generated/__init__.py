"""Code that `tools/generate_wire.py` writes from `navarch.proto`; never edited by hand."""

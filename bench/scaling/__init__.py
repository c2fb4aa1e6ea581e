"""The parts of `bench/scale.py`."""

"""Targets for a fuzzer: each module has `check`, which takes any bytes and raises where a promise is broken.

And it has `seeds`, to begin with. `tools/fuzz.py` runs the targets with atheris; they themselves know no fuzzer.
"""

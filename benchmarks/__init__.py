"""The framework measured beside its peers, all of them in one run: `python -m benchmarks`.

`peers` makes the servers, `load` keeps them busy, `rates` and `shutdown` measure, `report` prints.
"""

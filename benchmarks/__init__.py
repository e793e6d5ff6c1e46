"""Measures the cost of a delivered message in Studyroom and in other servers: `make bench`.

`load/load.c` is the load generator. `peers/` has the other servers. `run` measures, and `report` writes RESULTS.md.
"""

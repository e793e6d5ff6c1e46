"""What a delivered message costs, here and elsewhere: `make bench`.

`load/load.c` is the load generator, `peers/` what we are compared with. `run` measures, `report` writes RESULTS.md.
"""

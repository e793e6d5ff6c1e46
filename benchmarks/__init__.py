"""Measures the cost of a delivered message in Studyroom and in other servers: `make bench`.

`load/load.c` is the load generator. `peers/` has the other servers. `run` is the command, `bench` measures, and
`report` and `frontier_plot` write RESULTS.md. `frontier` checks the bars in `bars`.
`home` checks what rooms cost on many gateways. `many_gateways` simulates more of them than a machine can run.
"""

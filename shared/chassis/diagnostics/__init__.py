"""Looks into a running process, over its admin port: its tasks, where it spends its time, and its level of logs."""

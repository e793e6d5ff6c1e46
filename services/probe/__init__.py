"""Tries Studyroom as a user does, through its public address: once, or again and again as an exporter of metrics."""

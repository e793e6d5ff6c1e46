"""The hooks service: sends committed events of rooms to a backend, by HTTP, at least once and in order per room.

One replica works on a group of shards at a time. It collects events from what is stored anyway into a log, and delivers
the log. So a backend that is slow or away delays no collection, and a replay sends the same events again.
"""

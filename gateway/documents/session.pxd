# The types of `session.py` for the compiled data path.

from studyroom.gateway.documents.document cimport Document

cdef class Client:
    cdef public bint is_slow

    cpdef write(self, bytes frame)

cdef class Session:
    cdef public Document document
    cdef public object name, prefix, user
    cdef public bint may_write
    cdef Client _client
    cdef object _tasks, _merge_seconds, _wanted, _asking, _reply, _state, _explained, _dropped_for
    cdef object _timer, _ask_again, _pause_seconds
    cdef bint _is_open, _is_stale, _unsynced, _dropping, _is_syncing, _has_status
    cdef long _round, _unanswered, _owed, _collected_statuses, _in_flight
    cdef list _collected

    cdef _send(self, bytes message)
    cpdef settled(self, batch)
    cdef _finish_sync(self)
    cdef _pay(self, long statuses)
    cpdef deliver(self, bytes frames)

# The types of `cursors.py` for the compiled data path.

cdef class Cursors:
    cdef object _neighbours, _fanout, _request_flush, _metrics, _members, _exchange
    cdef public object _publish
    cdef dict _subjects, _cursors, _typing, _unflushed_cursors, _unflushed_typing
    cdef dict _undelivered_cursors, _undelivered_typing, _moved_here, _withheld
    cdef list _conflated
    cdef set _moved, _recalled, _typing_here
    cdef bint _has_roster
    cdef public long version

    cpdef move_cursor(self, user, bytes frame, ingress_us)
    cdef _send(self, kind, dict notices)

# The types of `traffic.py` for the compiled data path.

cimport cython

cdef class PlainHistogram:
    cdef list _bounds, _counts
    cdef double _sum

    cpdef observe(self, double value)

cdef class Traffic:
    cdef public object messages_received, replies_sent
    cdef public long cursor_shortcuts, crossed_deliveries, received, received_bytes, sent_bytes
    cdef public list room_messages_sent, conflated
    cdef public PlainHistogram room_gateways, flush_sizes
    cdef public dict latencies_us

    @cython.locals(count=long, now_us=long, ingress_us=long, latencies=PlainHistogram)
    cpdef count_cursors(self, cursors, long members, long not_sent)
    @cython.locals(now_us=long)
    cpdef count_flush(self, list items, long members, not_sent)

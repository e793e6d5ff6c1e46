# The types of `fanout.py` for the compiled data path.

from studyroom.gateway.wire.traffic cimport Traffic
from studyroom.gateway.wire.websocket cimport write_frames

cdef class Fanout:
    cdef public object _metrics
    cdef object _request_flush
    cdef Traffic _traffic
    cdef public object _outbox
    cdef dict _recipients, _by_user, _newcomers, _lagging

# The types of `metered.py` for the compiled data path.

cimport cython

from studyroom.gateway.connections.cursor_move cimport cursor_update
from studyroom.gateway.wire.framing cimport text_frame
from studyroom.gateway.wire.traffic cimport Traffic

cdef class Metered:
    cdef public object socket, user, _limits, _session, lagging_since
    cdef public object _cursors
    cdef public Traffic _traffic
    cdef public bytes _update_prefix
    cdef public double _messages_left, _bytes_left, _frames_left, _refilled_at, _patience
    cdef public long _progress_bytes, active_beat, held_beats, silent_beats
    cdef public bint _is_full, held

    @cython.locals(update=bytes)
    cpdef received(self, bytes payload)
    cpdef received_overhead(self)
    cpdef bint _is_within(self, Py_ssize_t size) except -1
    cdef _exceed(self, Py_ssize_t size)
    cdef _refill(self, double now)

# The types of `connection.py` for the compiled data path.

from studyroom.gateway.documents.session cimport Client, Session

cdef class DocumentConnection(Client):
    cdef public object id, user, address, expires_at, room, socket
    cdef public long binary_max_bytes, silent_beats
    cdef object _path, _hub, _identity, _identify
    cdef Session _only
    cdef tuple _sessions
    cdef public double connected_at
    cdef double _messages_left, _bytes_left, _refilled_at
    cdef bint _held
    cdef long _slow_beats, _progress_bytes, _quiet_beats, _beats_without_document

    cpdef write(self, bytes frame)
    cpdef received(self, bytes payload)
    cdef _send(self, bytes prefix, bytes message)

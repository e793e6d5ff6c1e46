# The types of `protocol.py` for the compiled data path.

cimport cython

cdef int _FIN, _OPCODE, _MASKED, _WHOLE_TEXT, _FIRST_CONTROL, _MASK_BYTES, _HEAD_BYTES

from studyroom.gateway.transport.native cimport unmask

cdef class WebSocketProtocol:
    cdef readonly object _assembler
    cdef object _data
    cdef int _whole
    cdef bytearray _incomplete
    cdef Py_ssize_t _max_bytes, _needed_bytes
    cdef bint _over
    cdef public object close_code

    cpdef receive_data(self, bytes data)
    cpdef bytes close(self, int code, str reason=*)
    @cython.locals(start=Py_ssize_t, available=Py_ssize_t, size=Py_ssize_t, payload_at=Py_ssize_t, end=Py_ssize_t, first=int, payload=bytes)
    cdef Py_ssize_t _take_frames(self, bytes data, list events) except -1
    cpdef _take_other(self, int first, bytes payload, list events)
    cdef _assemble(self, int opcode, bytes payload, list events, bint final)
    cdef bytes _answer_close(self, bytes payload)

cdef _check_head(int first, Py_ssize_t size)
cdef Py_ssize_t _long_size(bytes length) except -1
cdef _check_text(bytes payload)

# The types of `cursor_move.py` for the compiled data path.

cimport cython

cdef bytes _BEFORE_X, _X, _Y, _ELEMENT, _NULL, _END, _NULL_ELEMENT
cdef Py_ssize_t _PAYLOAD_AT, _MAX_SIZE, _WHOLE_DIGITS, _FRACTION_DIGITS, _ELEMENT_MAX_BYTES

cpdef bytes by_pattern(bytes prefix, bytes payload)
@cython.locals(size=Py_ssize_t, at=Py_ssize_t, end=Py_ssize_t)
cpdef bytes by_steps(bytes prefix, bytes payload)
cpdef bytes cursor_update(bytes prefix, bytes payload)
@cython.locals(start=Py_ssize_t)
cdef Py_ssize_t _after_digits(const unsigned char* payload, Py_ssize_t at, Py_ssize_t size, Py_ssize_t most) except -2
@cython.locals(end=Py_ssize_t)
cdef Py_ssize_t _after_number(const unsigned char* payload, Py_ssize_t at, Py_ssize_t size) except -2
@cython.locals(start=Py_ssize_t, byte=int)
cdef Py_ssize_t _after_string(const unsigned char* payload, Py_ssize_t at, Py_ssize_t size) except -2

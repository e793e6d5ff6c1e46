# The types of `yjs_updates.py` for the compiled data path.

cimport cython

cdef long long _CLOCK_MAX, _CLIENT_MAX
cdef int _GC, _SKIP, _CONTENT, _HAS_ORIGIN, _HAS_RIGHT_ORIGIN, _HAS_PARENT_KEY
cdef int _DELETED, _JSON, _BINARY, _STRING, _EMBED, _FORMAT, _TYPE, _ANY, _DOC
cdef int _XML_ELEMENT, _XML_HOOK, _TYPES

cdef class _Walk:
    cdef bytes _data
    cdef Py_ssize_t _at, _size

    @cython.locals(structs=cython.longlong, client=cython.longlong, clock=cython.longlong, length=cython.longlong)
    cpdef update(self)
    @cython.locals(info=int, kind=int)
    cdef long long _struct(self, long long client, long long clock) except -1
    @cython.locals(its_client=cython.longlong, its_clock=cython.longlong)
    cdef int _reference(self, long long client, long long clock) except -1
    cdef long long _contents(self, int kind) except -1
    @cython.locals(byte=int)
    cdef int _byte(self) except -1
    @cython.locals(value=cython.longlong, byte=cython.longlong, shift=int)
    cdef long long _number(self, long long most) except -1
    @cython.locals(start=Py_ssize_t, count=Py_ssize_t)
    cdef bytes _bytes(self)
    @cython.locals(raw=bytes)
    cdef long long _text(self) except -1
    cdef int _skip(self, Py_ssize_t count) except -1

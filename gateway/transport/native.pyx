"""`native.py` for the compiled data path. Keep them the same."""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "<sys/socket.h>":
    Py_ssize_t c_recv "recv"(int fd, void* buffer, size_t size, int flags)
    Py_ssize_t c_send "send"(int fd, const void* data, size_t size, int flags)

cdef extern from "Python.h":
    object PyErr_SetFromErrno(object kind)

cdef extern from *:
    """
    static PyMemAllocatorEx usual, separate;

    /* An object that came from the C library is given back to it by the usual `free`, which does so with everything
       that lies in none of its arenas. Neither that nor the allocator of the C library has a context. All others have
       one, such as those of `tracemalloc` and of the development mode, which know only what they have allocated. */
    static int begin_separate_memory(void) {
    #if defined(Py_GIL_DISABLED) || PY_VERSION_HEX >= 0x030F0000 /* whose usual allocator may be another one */
        return 0;
    #else
        PyMemAllocatorEx raw, now;
        PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &raw);
        PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &now);
        if (raw.ctx != NULL || now.ctx != NULL) return 0;
        if (now.malloc == raw.malloc) return usual.malloc != NULL; /* `tracemalloc` may have put it back */
        usual = separate = now;
        separate.malloc = raw.malloc;
        separate.calloc = raw.calloc;
        PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &separate);
        return 1;
    #endif
    }

    static void end_separate_memory(void) {
        PyMemAllocatorEx now;
        PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &now);
        if (now.ctx == NULL && now.malloc == separate.malloc) PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &usual);
    }
    """
    bint begin_separate_memory()
    void end_separate_memory()

COMPILED = True
_CAN_SEPARATE = "PYTHONMALLOC" not in os.environ
READ_MAX_BYTES = 16_384

cdef enum:
    _BUFFER_BYTES = 16_384

cdef char _buffer[_BUFFER_BYTES]


# Both keep the GIL: they do not block, and it costs as much to release as the shorter of them takes.

cpdef receive(int fd):
    cdef Py_ssize_t size
    while True:
        size = c_recv(fd, _buffer, _BUFFER_BYTES, 0)
        if size >= 0:
            return PyBytes_FromStringAndSize(_buffer, size)
        if errno == EAGAIN:
            return None
        if errno != EINTR:
            PyErr_SetFromErrno(OSError)


cpdef Py_ssize_t send(int fd, bytes data) except -1:
    cdef Py_ssize_t sent
    while True:
        sent = c_send(fd, PyBytes_AS_STRING(data), len(data), 0)
        if sent >= 0:
            return sent
        if errno == EAGAIN:
            return 0
        if errno != EINTR:
            PyErr_SetFromErrno(OSError)


cpdef bytes unmask(bytes data, Py_ssize_t start, Py_ssize_t end):
    cdef Py_ssize_t size = end - start, at = 0
    if start < 4 or end < start or end > len(data):
        raise ValueError("no such bytes")
    cdef bytes result = PyBytes_FromStringAndSize(NULL, size)
    cdef const char* masked = PyBytes_AS_STRING(data) + start
    cdef char* clear = PyBytes_AS_STRING(result)
    cdef uint32_t mask
    cdef uint64_t wide, eight
    memcpy(&mask, masked - 4, 4)
    wide = (<uint64_t> mask << 32) | mask
    while at + 8 <= size:
        memcpy(&eight, masked + at, 8)
        eight ^= wide
        memcpy(clear + at, &eight, 8)
        at += 8
    while at < size:
        clear[at] = masked[at] ^ (<const char*> &mask)[at & 3]
        at += 1
    return result


cdef class SeparateMemory:
    cdef bint _began

    def __enter__(self):
        if _CAN_SEPARATE and begin_separate_memory():
            self._began = True

    def __exit__(self, *_):
        if self._began:
            self._began = False
            end_separate_memory()


SEPARATE_MEMORY = SeparateMemory()

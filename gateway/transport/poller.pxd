# The types of `poller.py` for the compiled data path.

cdef class Poller:
    cdef public object loop
    cdef public double pause_seconds
    cdef object _epoll
    cdef dict _watched
    cdef list _after
    cdef bint _handling, _pausing

    cpdef change(self, int fd, watched, int before, int after)
    cdef bint _handle(self) except -1
    cpdef call_soon(self, callback)

cdef class LoopPoller(Poller):
    pass

cpdef Poller poller_of(loop)
cpdef call_after_reads(callback)

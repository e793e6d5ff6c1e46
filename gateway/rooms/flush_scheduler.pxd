# The types of `flush_scheduler.py` for the compiled data path.

cimport cython

cdef class Collection:
    cdef FlushScheduler _scheduler
    cdef public object first, flush
    cdef public long requests
    cdef public double ends_at, stretch

    cpdef request_flush(self)

cdef class FlushScheduler:
    cdef object _time, _busy_seconds, _pause, _call_soon, _order, _flush_due, _timer
    cdef list _waiting
    cdef double _sampled_at, _sampled_busy_seconds, _saved_seconds, _timer_at

    cpdef add(self, Collection collection)
    cdef _set_timer(self, double at)
    @cython.locals(now=double, seconds=double, collecting=double, end=double, flushed=double, requests=long, collection=Collection)
    cpdef _flush(self)
    @cython.locals(elapsed=double, busy=double)
    cdef _sample(self, double now)

# The types of `store.py` for the compiled data path.

cdef class DocumentStore:
    cdef object _bus, _tasks, _metrics, _deadline_seconds, _acknowledgements, _questions, _slots, _tracer
    cdef public object wholes

cdef class Publishing:
    cdef object _room, _name, _store, _ask, _collection, _waiting_bytes
    cdef list _collected
    cdef bint _waits, _is_asking
    cdef public bint may_begin

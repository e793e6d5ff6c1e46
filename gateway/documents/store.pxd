# The types of `store.py` for the compiled data path.

cdef class DocumentStore:
    cdef object _bus, _tasks, _metrics, _deadline_seconds, _acknowledgements, _questions
    cdef public object wholes

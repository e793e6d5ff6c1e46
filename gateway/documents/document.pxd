# The types of `document.py` for the compiled data path.

cdef class Document:
    cdef public object room, name, store, metrics, editors, subscribed, full, deleted
    cdef public bint active
    cdef object _update_subject, _gateway, _bus, _gap, _size_bytes, _max_bytes, _deletion, _epoch, _position, _begun
    cdef object _base, _awaited, _check, _collection, _publishing, _states, _news, _flush, _flushed_at
    cdef list _collected, _unpublished

    cpdef receive(self, message)
    cdef _receive_update(self, message)
    cdef _deliver(self, bytes update)
    cpdef publish(self, bytes update, author, publication)

# The types of `document.py` for the compiled data path.

from studyroom.gateway.documents.store cimport Publishing

cdef class Document:
    cdef public object room, name, store, metrics, editors, subscribed, full, deleted
    cdef public Publishing publishing
    cdef public bint active
    cdef object _update_subject, _gateway, _bus, _gap, _size_bytes, _max_bytes, _deletion, _epoch, _position, _begun
    cdef object _base, _awaited, _check, _collection, _states, _news, _flush, _flushed_at, _begin, _long_edit, _asking
    cdef list _collected

    cpdef receive(self, message)
    cdef _receive_update(self, message)
    cdef _deliver(self, bytes update)

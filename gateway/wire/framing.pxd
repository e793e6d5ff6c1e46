# The types of `framing.py` for the compiled data path.

cdef list _SHORT_TEXT_HEADERS
cpdef bytes text_frame(bytes payload)
cpdef bytes payload_of(bytes frame)

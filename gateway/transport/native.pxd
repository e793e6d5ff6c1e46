cpdef receive(int fd)
cpdef Py_ssize_t send(int fd, bytes data) except -1
cpdef bytes unmask(bytes data, Py_ssize_t start, Py_ssize_t end)

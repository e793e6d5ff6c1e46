"""The rules of a client: messages and calls go in, messages and events come out. No I/O, clock or event loop.

Times are seconds on any clock that never goes back, such as `loop.time()`. Randomness is an argument.
"""

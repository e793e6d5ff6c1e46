"""What browsers, gateways and presence say to each other. Pure: no I/O, no clock, no event loop.

Everything that two processes must agree on lives here: ids, messages, subjects, close codes and error codes.
"""

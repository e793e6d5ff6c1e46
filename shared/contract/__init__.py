"""The contract between browsers, gateways and presence. Pure: no I/O, no clock, no event loop.

Everything that two processes must agree on is here: ids, messages, subjects, close codes and error codes.
"""

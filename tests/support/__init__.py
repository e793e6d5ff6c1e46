"""The base of the tests: real processes and ordinary clients."""

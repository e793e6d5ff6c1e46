"""Studyroom: real-time collaboration in study rooms.

In a checkout this package has four links to the source folders of the top level, and a wheel the folders themselves.
The client for programs is here in both.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("studyroom")
except PackageNotFoundError:  # run from source files that nobody installed
    __version__ = "0+unknown"

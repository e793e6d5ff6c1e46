"""Studyroom: real-time collaboration in study rooms.

In a checkout this package is four links to the source folders of the top level; a wheel has the folders themselves.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("studyroom")
except PackageNotFoundError:  # run from source files that nobody installed
    __version__ = "0+unknown"

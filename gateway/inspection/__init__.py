"""Answers `studyroom room` and `studyroom user` with the state of a room or of a user at this gateway."""

"""The embedded system (`studyroom up`) and the command line."""

"""`studyroom room` and `studyroom user`: compare the stream, presence and all gateways, and change nothing."""

"""`studyroom doctor`: observes the system through NATS, and reports problems. It changes nothing."""

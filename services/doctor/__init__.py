"""`studyroom doctor`: a look at everything from the side of NATS, and what is wrong with it. It changes nothing."""

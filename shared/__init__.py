"""Code that all processes share: the contract between them, and the chassis that runs each of them."""

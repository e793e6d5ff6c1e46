"""What documents are generated from: the AsyncAPI document of the client protocol."""

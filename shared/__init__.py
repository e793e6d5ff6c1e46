"""What the processes share: the contract between them, and the chassis that each one stands on."""

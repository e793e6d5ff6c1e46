"""What tests stand on: real processes and ordinary clients."""

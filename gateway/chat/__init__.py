"""Chat: publishing, reading the stream, repairing gaps, resuming and deleting."""

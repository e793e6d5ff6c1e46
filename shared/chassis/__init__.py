"""What every process stands on: settings, logs, metrics, HTTP, tasks, and its life from start to stop."""

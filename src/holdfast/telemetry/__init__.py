"""What is told about calls: log lines and metrics."""

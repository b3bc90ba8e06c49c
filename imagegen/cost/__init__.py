"""What the service costs on Cloud Run: an arrival trace replayed through a small model of it."""

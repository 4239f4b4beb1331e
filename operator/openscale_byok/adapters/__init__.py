"""The ports' other side: Key Protect, IAM, the global key, the cluster."""

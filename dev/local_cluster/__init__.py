"""A real Kubernetes control plane on this machine's loopback, for development, tests and the demo."""

from local_cluster.cluster import Cluster
from local_cluster.errors import ClusterError

__all__ = ["Cluster", "ClusterError"]

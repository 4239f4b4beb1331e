"""A whole Kubernetes node from packages, in namespaces of its own: kubelet, containerd, kube-proxy, a control plane.

Nothing of it is left when its first process ends, and nothing of this machine's network is touched.
"""

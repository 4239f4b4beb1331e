"""The product as people get it: images and chart, installed by Helm into a cluster with a real kubelet."""

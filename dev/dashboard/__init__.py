"""`make dashboard`: the Grafana dashboard's queries, asked of a real Prometheus about the running system, as a picture.

Grafana itself is in no package that this project uses, so its JSON is drawn by a small page of our own.
"""

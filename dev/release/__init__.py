"""What a version is published as: files in one folder, the same bytes from the same commit, with provenance."""

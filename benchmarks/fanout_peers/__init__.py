"""One file per way to ask many hosts at once; each runs in its own virtual environment and speaks `peer.serve`."""

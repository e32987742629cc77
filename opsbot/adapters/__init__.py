"""Adapters: each speaks to one part of the world and knows nothing of the others."""

"""Against llama.cpp's own server, with a model of random weights made here. Skipped without its packages."""

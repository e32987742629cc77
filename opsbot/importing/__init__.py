"""Inventories of other tools, read as data: nothing is run, no template is filled in, nothing is decrypted."""

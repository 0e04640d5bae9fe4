"""Writes the tables and the gallery of docs/ from the registries and their docstrings.

`make docs` runs it; a test holds the files to what it writes. The package itself never imports it.
"""

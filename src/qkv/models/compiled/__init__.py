"""A step of search in one call of compiled loops: the extra `fast`."""

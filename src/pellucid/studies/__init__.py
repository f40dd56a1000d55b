"""Studies: what is asked of a model over many rows rather than about one of them, and of rows that are not there."""

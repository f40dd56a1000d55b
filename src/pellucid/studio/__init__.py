"""Pages on this machine that ask a model while somebody looks on."""

"""One framework each, imported only when such a model appears."""

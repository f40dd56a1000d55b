"""One file, one method, or one family of one-liners. Methods know neither each other nor the engine."""

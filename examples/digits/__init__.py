"""A small Keras net that reads digits, trained here, and why it reads them as it does."""

"""Operators that hide their inside, written out in simple torch calls."""

"""Layer-wise relevance propagation: the signal that comes back is relevance, and every operator shares it out."""

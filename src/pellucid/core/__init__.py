"""The values: what an explanation, a target, a site, a point and a question are."""

"""Methods that learn from a hierarchy of labels, and what their feature masks are made of."""

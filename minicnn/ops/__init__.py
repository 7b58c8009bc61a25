"""The ops: one file a family, in each a class with forward and backward side by side, and the function that calls it."""

"""The ops: one file a family; each op a class, forward and backward side by side, and the function that calls it."""

"""Training: state, steps, hooks and the loop."""

"""Pure array functions: no Flax modules, no state."""

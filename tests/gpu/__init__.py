"""What is run first where a GPU is at hand, and its rehearsal without one."""

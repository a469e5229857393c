"""How it is trained: losses and the learners that carry the training step."""

"""Front end, layers, networks, streaming state, checkpoints and the engine that runs them."""

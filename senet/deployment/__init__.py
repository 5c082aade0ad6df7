"""Networks that leave Keras: a graph for inference, its export, its proof, smaller numbers."""

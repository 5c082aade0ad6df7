"""How fast networks are on this machine, and how fast the machine could be."""

"""Looking inside: what the gates do, and which of them can go."""

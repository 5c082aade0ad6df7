"""What people do with networks, a file for each: the functions that the commands call."""

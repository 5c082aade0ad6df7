"""The run folder: its files, what wrote them, and what reads them again."""

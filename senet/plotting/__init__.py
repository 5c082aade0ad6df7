"""Pictures: matplotlib in one place."""

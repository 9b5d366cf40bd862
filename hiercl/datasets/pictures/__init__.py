"""Pictures on disk: single files, nested folders, CSV tables."""

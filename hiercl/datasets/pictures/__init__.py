"""Pictures of the user's own: files, nested folders, CSV tables."""

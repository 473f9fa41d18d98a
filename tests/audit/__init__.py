"""The audit: its store on both databases, its chain, its pages, what fills it, and who is told."""

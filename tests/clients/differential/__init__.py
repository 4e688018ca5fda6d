"""The same seeded requests to Chroma's own server and to another, and what differs in their answers."""

"""Files and paths as users and others give them: what may be read, what may be named, and how it is refused."""

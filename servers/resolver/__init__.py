"""A DNS server."""

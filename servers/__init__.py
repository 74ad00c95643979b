"""Reference servers, siblings of one shape: copy the nearest to what you need."""

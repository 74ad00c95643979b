"""What the reference servers have in common: settings, logging, and a program's beginning and end."""

"""A chat server that speaks IRC (RFC 2812, https://modern.ircdocs.horse), without modes and operators.

A thread per connection, one lock around all that is shared, and nobody ever waits for a slow reader.

================  =======================================================================================
``protocol``      bytes into messages and back; what a nick and a channel's name may be
``numerics``      the replies that have a number
``network``       users, channels and their rules
``commands``      what a client may ask for: the table of commands, and one family of them per file
``client``        what a command knows of the client it serves: how to answer it, and how to tell others
``handler``       one conversation: read, obey, send
``server``        the composition: which mix-ins on which server class, the lock, the goodbye; the program
``settings``      what can be set, and to what
================  =======================================================================================
"""

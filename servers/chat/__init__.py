"""A chat server that speaks IRC (RFC 2812 as https://modern.ircdocs.horse reads it) with the extensions of IRCv3.

A greenlet per connection, one lock around all that is shared, and nobody ever waits for a slow reader.

=================  ======================================================================================
``protocol``       bytes into messages and back; what a nick and a channel's name may be
``numerics``       the replies that have a number
``user``           a user: who is connected, and what others may know of it
``channel``        a channel: who is in it, its modes, and what they let whom do
``masks``          patterns for users and channels
``history``        what was said in one place; ``conversations``: what was said in private
``network``        who is there, and who is where
``commands``       what a client may ask for: the table of commands, and one family of them per file
``client``         what a command knows of the client it serves: how to answer it
``fanout``         what others are to hear of it: an append each, and one send after the lock
``admission``      who may connect, and how often a password may be tried
``flood``          how much a client may ask for, and how often
``handler``        one conversation: read, obey, send
``accounts``       names and passwords
``store``          what lasts: one thread, one transaction for all that came meanwhile
``cloak``          what others see instead of an address
``chat``           what all connections share: the network, the lock, the store
``server``         the composition: which mix-ins on which server class; TLS; the program
``settings``       what can be set, and to what
=================  ======================================================================================
"""

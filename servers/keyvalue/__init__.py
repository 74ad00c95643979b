"""A durable key-value store that Redis clients use unchanged: RESP2 and RESP3 over a Unix socket or TCP.

A greenlet per connection, no lock, and one commit for all clients of a turn.

=================  ===================================================================================================
``protocol``       what is said, and replies into bytes
``parser``         bytes into requests
``keyspace``       keys, their values, when they expire, and who has to know when they change
``dataset``        all of them, and what a command does to them
``sortedset``      members in the order of their scores
``arguments``      what arguments mean: numbers, times, ranges
``commands``       what a client may ask for: the table of commands, and one family of them per file
``blocking``       commands that wait for a key
``client``         what a command knows of the connection it serves
``engine``         what all connections share
``handler``        one conversation: receive a batch, run it, commit, send
``concurrency``    what greenlets and threads do differently
``stores``         what keeps the changes: nothing, or a log in a folder
``replay``         doing again what was kept; ``compaction``: writing down what that comes to
``memory``         ``maxmemory``: how much the keys take, and which to give up
``scan``           cursors, and random keys; ``glob``: patterns
``config``         CONFIG GET and SET
``server``         the composition: which mix-ins on which server class, and what shares an engine
``settings``       what can be set, and to what; ``maintenance``: looking after a store's folder
=================  ===================================================================================================
"""

"""A log sink: takes what programs send to /dev/log, and hosts over UDP, TCP and TLS, and loses none of it.

================  =======================================================================================
``record``        ``Record``: one message; ``Peer``: who sent it
``protocol``      octets into records and back: RFC 5424, RFC 3164, and whatever else comes
``framing``       the messages in a stream: RFC 6587
``escape``        text that can do no harm in a line
``formats``       records as lines
``receiver``      many datagrams by one system call, with the sender's credentials
``hand``          what was received and is not written yet, where SIGKILL does not reach it
``handler``       one batch of datagrams, one connection
``server``        the composition: which mix-ins on which server class
``sink``          what becomes of records: limits, routes, outputs
``limits``        a token bucket for each peer
``routes``        which output wants which record
``outputs``       where records go
``query``         what the database holds: ``python -m servers.syslog query``
``settings``      what can be set, and to what
================  =======================================================================================
"""

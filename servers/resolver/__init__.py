"""A DNS server: authoritative for zones, forwarding with a cache for those it knows, hosts files and block lists.

What a packet asks is read by hand; what was answered a moment ago is answered again from octets; all else passes the
steps. Nobody waits for an upstream server: the answer leaves when it is there.

================  =======================================================================================
``protocol``      a packet into a query, or into nothing that must be answered
``names``         domain names, as they are on the wire
``records``       sets of records, and answers made of them
``message``       messages on the wire, by dnslib, whose traps are closed there; nobody else touches it
``response``      responses on the wire, with ``layout`` for where names are in data
``zone``          a zone, and how a question is answered from it
``masterfile``    master files, with ``tokens``, ``rdata``, ``fields``, ``location``, ``svcb`` for what is in them
``lists``         hosts files and block lists
``steps``         what a question passes on its way: one idea per file
``lookup``        one question to the servers of a domain, with ``upstream`` for what is known of each
``scrub``         what may be believed of an answer
``exchange``      one question to one server, with ``exchanges``: a thread and a selector for all of them
``resolver``      from a packet to the octets that answer it, with ``wirecache`` for the short way
``cookies``       who is where they say
``transfer``      whole zones for secondaries; ``notify``: telling them
``generations``   a table of bounded size
``handler``       the conversations: datagrams in batches, connections with many questions at a time
``service``       which steps in which order, of which settings and files
``server``        the composition: which mix-ins on which server class
``settings``      what can be set, and to what; ``metrics``: what can be counted
================
"""

"""The framework measured beside its peers, all of them in one run: ``python -m benchmarks``.

===============  ======================================================================================
``workloads``    what a server is kept busy with
``subjects/``    the servers: the framework's models and their peers, each in a process of its own
``load.c``       the clients; ``load`` compiles and runs them
``rates``        CPU time per operation, operations per second, time to an answer, memory per connection
``endurance``    a program of its own: idle connections, peers that dribble, an end under load
``shutdown``     how long ``shutdown()`` of an idle server takes
``server``       starts a subject on a core of its own; ``usage`` tells what it has used
``targets``      what the framework means to reach, and whether it does
``report``       tables of medians
===============  ======================================================================================
"""

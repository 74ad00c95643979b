"""What the reference servers have in common: everything of a program that is not its protocol.

===============  ==================================================================================================
``settings``     ``ServerSettings``, ``setting()``, rules: a dataclass says what can be set, and to what
``sources``      flags, environment and file, into that dataclass; ``reread()`` for SIGHUP
``secret``       ``Secret``, ``Login``: passwords that are never shown, and may be in a file
``log``          lines for a terminal, or JSON; nothing that a peer sent can do harm in either
``metrics``      events of the framework, and what a service counts, for Prometheus
``status``       the HTTP server behind ``--metrics``: ``/metrics``, ``/healthz``, ``/readyz``
``descriptors``  how many files a server may have open: each client is one
``run``          ``main()``: settings → logging → servers → banner → ``framework.serve()`` → exit status
===============  ==================================================================================================

A server has a subclass of ``ServerSettings``, and a function that makes a ``Program`` of it::

    @dataclass(frozen=True, kw_only=True)
    class Settings(ServerSettings):
        \"\"\"A server that greets.\"\"\"

        bind: tuple[str, ...] = setting(("tcp://127.0.0.1:7000",), "where to listen", endpoint("tcp", "unix"))
        greeting: str = setting("hello", "what a client is told first", matching("[a-z ]+", "small letters"))


    def program(settings: Settings) -> Program:
        servers = listen(settings.bind, lambda where: Greeter(where, settings))
        return Program(servers, f"Greeter listens on {', '.join(settings.bind)}: nc 127.0.0.1 7000")


    sys.exit(main("greeter", Settings, program))

A server that can change while it runs reads its settings anew in ``reload()``, which SIGHUP calls::

    def reload(self) -> None:
        super().reload()
        self.settings = reread(self.settings, "greeting")
"""

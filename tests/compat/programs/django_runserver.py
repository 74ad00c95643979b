"""Django's development server: `manage.py runserver` with one view."""

import sys
import threading
import types
from typing import Any

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.servers.basehttp import ThreadedWSGIServer
from django.http import HttpRequest, HttpResponse
from django.urls import path

import framework

assert framework.ThreadingMixIn in ThreadedWSGIServer.__mro__
assert framework.TCPServer in ThreadedWSGIServer.__mro__


def view(request: HttpRequest) -> HttpResponse:
    """Say what was asked for, and whether a thread of its own answers."""
    alone = threading.current_thread() is not threading.main_thread()
    return HttpResponse(f"{request.method} {request.path} {alone}".encode())


if __name__ == "__main__":
    # The URLs are looked for in a module of that name.
    urls: Any = types.ModuleType("urls")
    urls.urlpatterns = [path("hello", view)]
    sys.modules["urls"] = urls
    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF="urls", SECRET_KEY="none")
    execute_from_command_line(["manage.py", "runserver", "--noreload", "127.0.0.1:0"])

"""What the installed release of the official Python client has."""

import inspect


def methods(resource, prefix=""):
    """The dotted names of all public methods of a client, those of nested resources too, and the methods."""
    for name in dir(resource):
        if name.startswith("_"):
            continue
        member = getattr(resource, name)
        if inspect.ismethod(member):
            yield prefix + name, member
        elif type(member).__module__.split(".")[0] == "svix" and prefix.count(".") < 3:
            yield from methods(member, f"{prefix}{name}.")

"""The API of an authentication service, and a listener to its event."""

from __future__ import annotations

from lightbus import Api, BusPath, Event, EventMessage, Parameter


class AuthApi(Api):
    """Who may come in."""

    user_registered = Event(parameters=(Parameter("username", str), Parameter("email", str)))

    class Meta:
        name = "auth"

    def check_password(self, username: str, password: str) -> bool:
        """Tell whether somebody is who they say."""
        return username == "admin" and password == "secret"


def before_server_start(bus: BusPath) -> None:
    """Set up the listeners; called when the host starts."""
    bus.auth.user_registered.listen(send_welcome_email)


def send_welcome_email(event_message: EventMessage, username: str, email: str) -> None:
    """Print what a real service would send."""
    print(f"Subject: Welcome to our site, {username}")
    print(f"To: {email}")

"""The same service as it is to be deployed next."""

from lightbus import Api, Event


class AuthApi(Api):
    """Who may come in."""

    user_registered = Event(parameters=("username", "email"))

    class Meta:
        """Its name on the bus."""

        name = "auth"

    def check_password(self, username: str, password: str, realm: str) -> bool:
        """Tell whether the password is that of the user."""
        return username == "admin" and password == "secret"


def send_welcome_email(event_message, username, email):
    """Welcome a user."""
    if username == "nobody":
        raise ConnectionRefusedError("mail.example.com:25 refuses the connection")


def add_contact(event_message, username, email):
    """Remember a user."""

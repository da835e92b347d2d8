"""Single sign-on: the OpenID Connect provider, its tokens, and who they stand for."""

from pacsgrid.login.identity import Identity, identity_of
from pacsgrid.login.provider import Provider, Tokens
from pacsgrid.login.tokens import verify_access_token, verify_id_token

__all__ = [
    "Identity",
    "Provider",
    "Tokens",
    "identity_of",
    "verify_access_token",
    "verify_id_token",
]

"""A mail server (aiosmtpd). Its settings are the argument, a JSON object: `port`; `tls`, which is "starttls", "implicit" or
"none"; `certificate` and `key`, two PEM files; `users`, the passwords by name, or null; `refuse`, receivers that it refuses;
`silent`, whether it never answers QUIT.
It prints a line of JSON once it listens, and one for each login and each mail."""
import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

settings = json.loads(sys.argv[1])


def emit(event):
    print(json.dumps(event), flush=True)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in settings["refuse"]:
            return f"550 5.1.1 <{address}>: no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_QUIT(self, server, session, envelope):
        if settings["silent"]:
            await asyncio.Event().wait()
        return "221 Bye"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        emit({
            "session": "mail",
            "mail": mail.get_content().replace("\r\n", "\n").rstrip("\n"),
            "headers": [[name, str(value)] for name, value in mail.items()],
            "defects": [str(defect) for defect in mail.defects],
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "hello": session.host_name,
            "encrypted": session.ssl is not None or settings["tls"] == "implicit",
            "authenticated": bool(session.authenticated),
        })
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    name, password = data.login.decode(), data.password.decode()
    accepted = settings["users"].get(name) == password
    emit({"session": "login", "login": name, "accepted": accepted})
    # What is not handled here, the server refuses with 535.
    return AuthResult(success=accepted, handled=accepted)


async def serve():
    context = None
    if settings["tls"] != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(settings["certificate"], settings["key"])
    options = {"hostname": "mail.contoso.local"}
    if settings["tls"] == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    if settings["users"] is not None:
        options |= {"authenticator": authenticate, "auth_required": True, "auth_require_tls": settings["tls"] == "starttls"}
    implicit = context if settings["tls"] == "implicit" else None
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Handler(), loop=loop, **options), "127.0.0.1", settings["port"], ssl=implicit
    )
    emit({"ready": True})
    await server.serve_forever()


asyncio.run(serve())

"""A receiver of webhooks over HTTPS, which checks signatures with the `standardwebhooks` library. Its settings are the
argument, a JSON object: `port`; `certificate` and `key`, two PEM files; `secret`, the signing secret; `status`, its answer.
It prints a line of JSON once it listens, and one for each request."""
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

settings = json.loads(sys.argv[1])


def emit(event):
    print(json.dumps(event), flush=True)


def is_genuine(body, headers):
    try:
        Webhook(settings["secret"]).verify(body, headers)
        return True
    except WebhookVerificationError:
        return False


class Receiver(BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        emit({
            "method": self.command,
            "path": self.path,
            "headers": headers,
            "body": body.decode(),
            "genuine": is_genuine(body, headers),
        })
        self.send_response(settings["status"])
        if settings["status"] in (301, 302, 307, 308):
            self.send_header("location", "/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_POST = do_HEAD = answer

    def log_message(self, *_):
        pass


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(settings["certificate"], settings["key"])
server = HTTPServer(("127.0.0.1", settings["port"]), Receiver)
server.socket = context.wrap_socket(server.socket, server_side=True)
emit({"ready": True})
server.serve_forever()

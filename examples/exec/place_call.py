#!/usr/bin/env python3
"""Places one call for PhoneGate, through a telephone gateway with a small HTTP interface.

An example for the backend `exec`: docs/backends.md describes what a program reads and writes. The gateway:

    GET    /status          200 if it works
    POST   /calls           {"to", "extension", "language", "text"}: rings, speaks the text, and collects keys up to #.
                            201 {"id"}, or 400 if it cannot dial the number
    GET    /calls/ID        {"state": "ringing", "answered", "busy", "no_answer" or "ended",
                             "entry": null or {"digits", "ended_by": "pound" or "pause"}}
    POST   /calls/ID/text   {"text"}: speaks another text, and collects another entry
    DELETE /calls/ID        hangs up
"""

import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request

GATEWAY = os.environ["GATEWAY"]  # "environment": ["GATEWAY"] in phonegate.json
SENTENCES = {
    "en": ("This is the sign-in service. To approve, press {}, then pound.", "That was wrong. Press {}, then pound."),
    "de": ("Hier ist der Anmeldedienst. Zum Bestätigen drücken Sie {}, dann Raute.",
           "Das war falsch. Drücken Sie {}, dann Raute."),
}
hang_up = threading.Event()


def report(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def end(event, **fields):
    """Reports the verdict. It must be the last line, and the program must end with 0."""
    report(event, **fields)
    os._exit(0)


def ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(GATEWAY + path, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.loads(reply.read(65536) or b"null")


def text(call, number, attempt):
    first, again = SENTENCES.get(call["language"][:2], SENTENCES["en"])
    return (first if number == 1 else again).format(attempt["spoken"] or "")


def start(call):
    try:
        body = {"to": call["number"], "extension": call["extension"], "language": call["language"]}
        return ask("POST", "/calls", {**body, "text": text(call, 1, call["attempts"][0])})["id"]
    except urllib.error.HTTPError as error:
        if error.code == 400:
            end("failed", reason="InvalidNumber", may_ring=False)
        raise
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            # Nothing was sent, so PhoneGate may try its next backend.
            end("failed", reason="CannotPlace", text="the gateway does not run", may_ring=False)
        raise  # The phone may ring: without a verdict, PhoneGate fails the call.


def entry(id):
    """Waits for the keys of one attempt."""
    state = None
    while not hang_up.wait(0.2):
        call = ask("GET", f"/calls/{id}")
        if call["state"] != state:
            state = call["state"]
            if state in ("ringing", "answered"):
                report(state)
        if call["entry"] is not None:
            return call["entry"]
        if state in ("busy", "no_answer", "ended"):
            end("failed", reason={"busy": "Busy", "no_answer": "NoAnswer", "ended": "CallEnded"}[state])
    ask("DELETE", f"/calls/{id}")
    os._exit(0)  # PhoneGate knows why: it has closed the input.


def place(call):
    id = start(call)
    for number, attempt in enumerate(call["attempts"], 1):
        if number > 1:
            ask("POST", f"/calls/{id}/text", {"text": text(call, number, attempt)})
        pressed = entry(id)
        # PhoneGate judges the entry. This only decides whether to ask once more.
        if pressed["digits"] in (attempt["code"] or "", call["fraud_key"]):
            break
    ask("DELETE", f"/calls/{id}")
    end("pressed", attempt=number, digits=pressed["digits"], ended_by=pressed["ended_by"])


def watch_input():
    """PhoneGate closes the input to hang up."""
    sys.stdin.buffer.read()
    hang_up.set()


task = json.loads(sys.stdin.buffer.readline())
if task.get("check"):
    ask("GET", "/status")
    end("ready", text="the gateway works")
threading.Thread(target=watch_input, daemon=True).start()
try:
    place(task)
except Exception as error:
    # Without numbers and codes: this goes into PhoneGate's log.
    print(f"{type(error).__name__}: {getattr(error, 'reason', '')}", file=sys.stderr, flush=True)
    os._exit(1)

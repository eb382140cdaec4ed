"""A program that places calls as its plan says: a stand-in for an administrator's program, in the tests.

`plan.json` in its folder is a list of steps. Beside it the program keeps files about what it did.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
PRESSED = {"event": "pressed", "attempt": 1, "ended_by": "pound"}


def path(name):
    return os.path.join(FOLDER, name)


def note(name, text):
    """Appends a line to a file, in one write."""
    with open(path(name), "ab", buffering=0) as file:
        file.write(text.encode() + b"\n")


def write(text):
    os.write(1, text.encode())


def read_line():
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            os._exit(9)
        line += byte
    return line


def until_hang_up():
    """Waits for the end of the input, which is the request to hang up."""
    while os.read(0, 1024):
        pass
    note("hung_up", str(os.getpid()))


def hang_up():
    until_hang_up()
    os._exit(0)


def right(call, attempt=1):
    """What approves the attempt. The method `pound` has no code."""
    return call["attempts"][attempt - 1]["code"] or ""


def wrong(call):
    code = right(call)
    return code[::-1] + "0" if code else "7"


def perform(step, call):
    name, value = next(iter(step.items()))
    if name == "say":
        write(json.dumps(value) + "\n")
    elif name == "write":
        write(value.replace("CODE", right(call)))
    elif name == "hex":
        os.write(1, bytes.fromhex(value))
    elif name == "fill":
        write(value * 10_000)
    elif name == "press":
        digits = right(call) if value == "right" else wrong(call)
        write(json.dumps({**PRESSED, "digits": digits}) + "\n")
    elif name == "error":
        spoken = call["attempts"][0]["spoken"] or ""
        text = value.replace("NUMBER", call["number"]).replace("CODE", right(call)).replace("SPOKEN", spoken)
        text = text.replace("LINES", "\n".join(right(call)))
        os.write(2, text.encode() + b"\n")
    elif name == "flood_error":
        for _ in range(value):
            os.write(2, b"x" * 999 + b"\n")
    elif name == "sleep":
        time.sleep(value)
    elif name == "alone":
        # Fails if another program is at this step.
        os.close(os.open(path("alone"), os.O_CREAT | os.O_EXCL))
        time.sleep(value)
        os.remove(path("alone"))
    elif name == "child":
        # Holds the output open until it is killed.
        child = subprocess.Popen(["/bin/sleep", "600"], start_new_session=value == "escapes")
        note("children", str(child.pid))
    elif name == "close_output":
        os.close(1)
        os.close(2)
    elif name == "answer":
        until_answered(call)
    elif name == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "exit":
        os._exit(value)
    else:
        raise ValueError(name)


def until_answered(call):
    """Waits for a file that says how the user answers."""
    while True:
        try:
            with open(path("answer"), encoding="utf-8") as file:
                answer = file.read()
        except FileNotFoundError:
            answer = ""
        if answer == "garbled":
            write("<html>\n")
            time.sleep(600)
        elif answer:
            return perform({"press": answer}, call)
        time.sleep(0.01)


def main():
    call = json.loads(read_line())
    if call.get("check"):
        with open(path("check.json"), encoding="utf-8") as file:
            steps = json.load(file)
    else:
        note("calls", json.dumps(call))
        with open(path("plan.json"), encoding="utf-8") as file:
            steps = json.load(file)
    note("started", json.dumps({
        "pid": os.getpid(), "arguments": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd(),
        "files": sorted(os.listdir("/proc/self/fd")),
    }))
    if {"deaf": True} in steps:
        steps.remove({"deaf": True})
    else:
        threading.Thread(target=hang_up, daemon=True).start()
    for step in steps:
        perform(step, call)
    os._exit(0)


main()

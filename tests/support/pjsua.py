"""A telephone that a test drives: pjsua2, an implementation of SIP, SDP, RTP and SRTP of its own.

Usage: pjsua.py CONFIGURATION, a JSON object:
    number       the user part of the telephone's address
    port         the port of UDP and TCP at 127.0.0.1; TLS takes the next one
    rtp_port     the first of the ports for audio
    log          the file for pjsua's own log
    ring         the provisional response to a call: 180 or 183
    answers      whether it picks up by itself, as soon as it rings
    reliable     whether provisional responses must be acknowledged by PRACK (RFC 3262)
    timer        whether it insists on a session timer (RFC 4028), and refreshes as often as that allows
    certificate, key
                 PEM files for TLS
    srtp         whether audio must be encrypted, with keys in SDP over TLS (RFC 4568)
    redirect     a SIP URI: every call is answered by 302 with this Contact
    registrar, user, password
                 the URI of a registrar, and the credentials that it asks for

It prints a JSON object for each event, one a line: `ready`, `registered`, `incoming`, `state`, `media`, `error`.
It obeys the commands that it reads, one a line, of the call that came last: see `Phone.obey`. It ends when its input
does, and after 15 minutes.
"""

import ctypes
import json
import os
import select
import sys
import time

# pjsua writes its log to the standard output of C: that becomes the log's file, and each line is written at once.
CONFIG = json.loads(sys.argv[1])
EVENTS = os.fdopen(os.dup(1), "w", buffering=1)
LOG = os.open(CONFIG["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
os.dup2(LOG, 1)
C = ctypes.CDLL(None)
C.setvbuf(ctypes.c_void_p.in_dll(C, "stdout"), None, 1, 0)

import pjsua2 as pj  # noqa: E402 (it may write while it is loaded)

LONGEST_RUN = 15 * 60
MEDIA = {
    pj.PJSUA_CALL_MEDIA_NONE: "none",
    pj.PJSUA_CALL_MEDIA_ACTIVE: "active",
    pj.PJSUA_CALL_MEDIA_LOCAL_HOLD: "local hold",
    pj.PJSUA_CALL_MEDIA_REMOTE_HOLD: "remote hold",
    pj.PJSUA_CALL_MEDIA_ERROR: "error",
}


def event(name, **fields):
    print(json.dumps({"event": name, **fields}), file=EVENTS)


def tone():
    """Returns a source of 440 Hz."""
    description = pj.ToneDesc()
    description.freq1, description.on_msec, description.off_msec = 440, 1000, 0
    descriptions = pj.ToneDescVector()
    descriptions.append(description)
    generator = pj.ToneGenerator()
    generator.createToneGenerator()
    generator.play(descriptions, True)
    return generator


class Call(pj.Call):
    """One call: reports its states and those of its audio, and says a tone."""

    def __init__(self, phone, account, number):
        super().__init__(account, number)
        self.phone = phone

    def onCallState(self, prm):
        info = self.getInfo()
        event("state", call=info.id, state=info.stateText, code=info.lastStatusCode)

    def onCallMediaState(self, prm):
        info = self.getInfo()
        event("media", call=info.id, state=MEDIA[info.media[0].status] if info.media else "none")
        if info.media and info.media[0].status == pj.PJSUA_CALL_MEDIA_ACTIVE:
            self.phone.tone.startTransmit(self.getAudioMedia(0))

    def offer(self, method, flag=0, direction=None):
        """Sends an offer, or asks for one."""
        prm = pj.CallOpParam(True)
        prm.opt.audioCount, prm.opt.videoCount = 1, 0
        prm.opt.flag = flag
        if direction is not None:
            prm.opt.flag |= pj.PJSUA_CALL_SET_MEDIA_DIR
            prm.opt.mediaDir.append(direction)
        method(prm)

    def respond(self, code, contact=None):
        prm = pj.CallOpParam(True)
        prm.statusCode = code
        prm.opt.audioCount, prm.opt.videoCount = 1, 0
        if contact:
            header = pj.SipHeader()
            header.hName, header.hValue = "Contact", f"<{contact}>"
            prm.txOption.headers.append(header)
        self.answer(prm)


class Account(pj.Account):
    """The telephone's address."""

    def __init__(self, phone):
        super().__init__()
        self.phone = phone

    def onRegState(self, prm):
        event("registered", code=prm.code, expires=prm.expiration)

    def onIncomingCall(self, prm):
        call = Call(self.phone, self, prm.callId)
        self.phone.calls.append(call)
        event("incoming", call=prm.callId, uri=call.getInfo().localUri)
        if CONFIG.get("redirect"):
            call.respond(302, CONFIG["redirect"])
            return
        call.respond(CONFIG.get("ring", 180))
        if CONFIG.get("answers", True):
            call.respond(200)


class Phone:
    """The telephone, and its calls."""

    def __init__(self):
        self.calls = []
        self.endpoint = pj.Endpoint()
        self.endpoint.libCreate()
        config = pj.EpConfig()
        # All callbacks happen within `libHandleEvents`.
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        config.logConfig.level = config.logConfig.consoleLevel = 5
        config.logConfig.msgLogging = 1
        self.endpoint.libInit(config)
        self.endpoint.audDevManager().setNullDev()
        for codec in self.endpoint.codecEnum2():
            if not codec.codecId.startswith("PCM"):
                self.endpoint.codecSetPriority(codec.codecId, 0)
        self.tone = tone()
        self.listen()
        self.endpoint.libStart()
        self.account = Account(self)
        self.account.create(self.account_config())

    def listen(self):
        transport = pj.TransportConfig()
        transport.boundAddress = transport.publicAddress = "127.0.0.1"
        transport.port = CONFIG["port"]
        self.endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
        self.endpoint.transportCreate(pj.PJSIP_TRANSPORT_TCP, transport)
        transport.port += 1
        transport.tlsConfig.certFile = CONFIG["certificate"]
        transport.tlsConfig.privKeyFile = CONFIG["key"]
        self.endpoint.transportCreate(pj.PJSIP_TRANSPORT_TLS, transport)

    def account_config(self):
        config = pj.AccountConfig()
        config.idUri = f"sip:{CONFIG['number']}@127.0.0.1"
        if CONFIG.get("registrar"):
            config.regConfig.registrarUri = CONFIG["registrar"]
            config.regConfig.timeoutSec = 60
            credentials = pj.AuthCredInfo("digest", "*", CONFIG["user"], 0, CONFIG["password"])
            config.sipConfig.authCreds.append(credentials)
        if CONFIG.get("reliable"):
            config.callConfig.prackUse = pj.PJSUA_100REL_MANDATORY
        if CONFIG.get("timer"):
            config.callConfig.timerUse = pj.PJSUA_SIP_TIMER_REQUIRED
            # The least that RFC 4028 allows.
            config.callConfig.timerMinSESec = config.callConfig.timerSessExpiresSec = 90
        media = config.mediaConfig
        if CONFIG.get("srtp"):
            media.srtpUse = pj.PJMEDIA_SRTP_MANDATORY
            media.srtpSecureSignaling = 1
        media.transportConfig.boundAddress = media.transportConfig.publicAddress = "127.0.0.1"
        media.transportConfig.port = CONFIG["rtp_port"]
        return config

    def obey(self, command):
        """Does what a command says: {"do": "press", "keys": "#"}, or another of these."""
        do, call = command["do"], self.calls[-1]
        if do == "press":
            call.dialDtmf(command["keys"])
        elif do == "answer":
            call.respond(200)
        elif do == "hold":
            call.setHold(pj.CallOpParam(True))
        elif do == "resume":
            call.offer(call.reinvite, pj.PJSUA_CALL_UNHOLD)
        elif do == "sendonly by UPDATE":
            call.offer(call.update, direction=pj.PJMEDIA_DIR_ENCODING)
        elif do == "sendrecv by UPDATE":
            call.offer(call.update, direction=pj.PJMEDIA_DIR_ENCODING_DECODING)
        elif do == "ask for an offer":
            call.offer(call.reinvite, pj.PJSUA_CALL_NO_SDP_OFFER)
        else:
            raise ValueError(f"unknown command: {do}")

    def run(self):
        event("ready")
        given_up_at = time.monotonic() + LONGEST_RUN
        pending = b""
        while time.monotonic() < given_up_at:
            self.endpoint.libHandleEvents(10)
            if not select.select([0], [], [], 0)[0]:
                continue
            read = os.read(0, 65_536)
            if not read:
                return
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                try:
                    self.obey(json.loads(line))
                except (pj.Error, ValueError, IndexError) as error:
                    event("error", command=line.decode(), text=error.info() if isinstance(error, pj.Error) else str(error))


Phone().run()
# Without the goodbyes of pjsua, which take a second.
EVENTS.flush()
os._exit(0)

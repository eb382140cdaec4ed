//! A callee played by sipp, another SIP implementation, which follows a scenario.
//!
//! Over UDP every message may arrive twice or late (RFC 3261, section 17), and on a busy machine many do. The callee
//! repeats its own requests and final answers until they are answered, and ignores a message that it has received
//! before. Any other message that the scenario does not expect fails the test: see [`sipp_log`](super::sipp_log).

use std::collections::HashSet;
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::options::OptionsResponder;
use super::ports::{free_port, free_ports, is_bound_udp};
use super::sipp_log::unexpected;

/// A step of a callee's scenario.
#[derive(Clone, Debug)]
pub enum Step {
    /// Receives an INVITE.
    Invite,
    /// Answers the last request with a status line's code and phrase, and these headers.
    Answer(u16, &'static str, &'static str),
    /// Answers the INVITE with 200 and a session description, and receives the ACK.
    PickUp,
    /// As `PickUp`, with this description instead of the usual one.
    PickUpWith(String),
    /// As `PickUp`, with this additional header, or with this CSeq.
    PickUpAs(&'static str),
    /// Picks up with a 200 without Contact.
    AnswerWithoutContact,
    /// A header for the next `Offer`.
    Header(&'static str),
    /// Receives the ACK of a rejection.
    Ack,
    /// Waits for this number of milliseconds.
    Wait(u32),
    /// Presses keys (RFC 4733), half a second apart, and continues without waiting for the last one.
    Press(&'static str),
    /// Sends an INFO with this type and body, and receives its answer.
    Info(&'static str, &'static str),
    /// As `Info`, but it is refused: 415.
    InfoRefused(&'static str, &'static str),
    /// Sends a re-INVITE or an UPDATE with this description, and receives its answer with this code.
    Offer(&'static str, String, u16),
    /// Hangs up, and receives the answer.
    HangUp,
    /// Receives a request of this method, and answers it.
    Receive(&'static str),
    /// Receives a CANCEL, and answers it and the INVITE.
    Cancelled,
    /// Receives an INVITE with credentials: `user:password`.
    Authorized(&'static str, &'static str),
    /// Receives a request of this method whose lines match this expression, and answers it.
    ReceiveWith(&'static str, &'static str),
    /// A part of a scenario in sipp's own language. sipp removes blanks at the end of a line; `[$blank]` is a blank.
    Raw(String),
}

/// The wait between the answer and the first key.
pub const UNTIL_ASKED: Step = Step::Wait(super::UNTIL_ASKED_MS);

/// The usual description of a callee.
pub const SDP: &str = "v=0\no=callee 1 1 IN IP[media_ip_type] [media_ip]\ns=-\nc=IN IP[media_ip_type] [media_ip]\nt=0 0\n\
    m=audio [media_port] RTP/AVP 0 101\na=rtpmap:0 PCMU/8000\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\n";

/// The description of a callee that takes no key events: its keys come by INFO.
pub const SDP_WITHOUT_EVENTS: &str = "v=0\no=callee 1 1 IN IP[media_ip_type] [media_ip]\ns=-\n\
    c=IN IP[media_ip_type] [media_ip]\nt=0 0\nm=audio [media_port] RTP/AVP 0\na=rtpmap:0 PCMU/8000\n";

/// A running callee.
pub struct Callee {
    process: Child,
    folder: TempDir,
    pub port: u16,
    address: &'static str,
    transport: &'static str,
    /// Answers OPTIONS over UDP at `port`; sipp itself is at another.
    options: Option<OptionsResponder>,
    sipp_port: u16,
}

impl Callee {
    /// Starts a callee over UDP that plays these steps for each of `calls` calls.
    pub fn start(steps: &[Step], calls: u32) -> Self {
        Self::over("udp", steps, calls)
    }

    /// As `start`, over `udp` or `tcp`.
    pub fn over(transport: &'static str, steps: &[Step], calls: u32) -> Self {
        Self::on("127.0.0.1", transport, steps, calls)
    }

    /// As `over`, on another address of this machine.
    pub fn on(address: &'static str, transport: &'static str, steps: &[Step], calls: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let sipp_port = if transport == "tcp" { port } else { free_port() };
        // Everything goes through the responder, so that messages stay in their order.
        let scenario = scenario(steps).replace("[local_port]", &port.to_string());
        std::fs::write(folder.path().join("callee.xml"), scenario).unwrap();
        let process = super::tool("sipp", "sip-tester")
            .current_dir(folder.path())
            .args(["-sf", "callee.xml", "-i", address, "-p", &sipp_port.to_string(), "-m", &calls.to_string()])
            // It takes the port of the audio, the second one after it for video, and one for RTCP next to each.
            .args(["-mi", address, "-mp", &free_ports(4).to_string()])
            .args(["-t", if transport == "tcp" { "t1" } else { "u1" }, "-nostdin", "-trace_msg", "-trace_err"])
            .args([
                "-message_file",
                "messages.log",
                "-error_file",
                "errors.log",
                // Unexpected messages are judged by `unexpected`: sipp would end the call at a repeated one.
                "-default_behaviors",
                "all,-abortunexp",
                // Only for the case that this process is killed: the longest test takes some minutes.
                "-timeout",
                "900s",
                "-buff_size",
                "4000000",
            ])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("stderr.log")).unwrap())
            .spawn()
            .unwrap();
        let mut callee = Self { process, folder, port, address, transport, options: None, sipp_port };
        super::wait_until("sipp listens", || {
            assert!(callee.process.try_wait().unwrap().is_none(), "sipp ended: {}", callee.read("stderr.log"));
            callee.listens()
        });
        if transport != "tcp" {
            let address: std::net::IpAddr = address.parse().unwrap();
            callee.options = Some(OptionsResponder::start((address, port).into(), (address, sipp_port).into()));
        }
        callee
    }

    /// The messages that it has seen so far.
    pub fn messages(&self) -> String {
        self.read("messages.log")
    }

    /// How often this number was rung so far: an INVITE that was sent again is the same ring.
    pub fn rings(&self, number: &str) -> usize {
        let (messages, start) = (self.messages(), format!("INVITE sip:{number}@"));
        let is_name = |line: &&str| line.starts_with("Call-ID:") || line.starts_with("CSeq:");
        let name = |invite| str::lines(invite).take_while(|line| !line.is_empty()).filter(is_name).collect();
        // One that is not all in the log yet has no name.
        let names = messages.split(&start).skip(1).map(name).filter(|name: &Vec<_>| name.len() == 2);
        names.collect::<HashSet<_>>().len()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn listens(&self) -> bool {
        match self.transport {
            "tcp" => std::net::TcpStream::connect((self.address, self.port)).is_ok(),
            _ => is_bound_udp(self.sipp_port),
        }
    }

    /// The settings of a trunk that ends here.
    pub fn trunk(&self) -> Value {
        json!({ "type": "sip", "trunk": self.uri() })
    }

    /// Its SIP URI.
    pub fn uri(&self) -> String {
        let host = if self.address.contains(':') { format!("[{}]", self.address) } else { self.address.to_owned() };
        format!("sip:{host}:{};transport={}", self.port, self.transport)
    }

    /// Waits until all calls were played, and returns the log of messages. Fails if a call did not follow the scenario.
    pub fn finish(mut self) -> String {
        let mut judged = 0;
        super::wait_until("sipp has played its scenario", || {
            let length = self.read("errors.log").len();
            if length > judged {
                self.has_received_nothing_unexpected();
                judged = length;
            }
            self.process.try_wait().unwrap().is_some()
        });
        let status = self.process.wait().unwrap();
        let messages = self.read("messages.log");
        assert!(status.success(), "sipp: {status}\n{}\n{messages}", self.read("errors.log"));
        messages
    }

    fn has_received_nothing_unexpected(&self) {
        // The messages are read first: sipp logs a message before it reports that it is unexpected.
        let errors = self.read("errors.log");
        let found = unexpected(&self.read("messages.log"), &errors);
        assert!(found.is_empty(), "sipp received messages that its scenario does not expect: {found:#?}\n{errors}");
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        // It has usually ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if !std::thread::panicking() {
            self.has_received_nothing_unexpected();
        }
    }
}

fn scenario(steps: &[Step]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\"?>\n<scenario name=\"callee\">\n");
    let mut next_header = String::new();
    for (step, next) in steps.iter().zip(steps.iter().skip(1).map(Some).chain([None])) {
        xml += &match step {
            Step::Invite => receive("INVITE", REMEMBER, "rrs=\"true\""),
            Step::Answer(code, phrase, headers) if matches!(next, Some(Step::Ack)) => {
                repeated(&respond(*code, phrase, headers, ""))
            }
            Step::Answer(code, phrase, headers) => respond(*code, phrase, headers, ""),
            Step::PickUp => repeated(&respond(200, "OK", "", SDP)) + &receive("ACK", "", ""),
            Step::PickUpWith(sdp) => repeated(&respond(200, "OK", "", sdp)) + &receive("ACK", "", ""),
            Step::PickUpAs(header) => {
                let usual = respond(200, "OK", "", SDP);
                let answer = match header.strip_prefix("CSeq: ") {
                    Some(_) => usual.replace("[last_CSeq:]", header).replace("[last_Via:]", "Via:[$via]"),
                    None => usual.replace("Content-Type", &format!("{header}\nContent-Type")),
                };
                repeated(&answer) + &receive("ACK", "", "")
            }
            Step::AnswerWithoutContact => {
                let answer = respond(200, "OK", "", SDP);
                answer.lines().filter(|line| !line.starts_with("Contact")).map(|line| line.to_owned() + "\n").collect()
            }
            Step::Header(header) => {
                next_header = format!("{header}\n");
                String::new()
            }
            Step::Ack => receive("ACK", "", ""),
            Step::Wait(ms) => format!("<pause milliseconds=\"{ms}\"/>\n"),
            Step::Press(keys) => {
                let key = |key| match key {
                    '#' => "pound".to_owned(),
                    '*' => "star".to_owned(),
                    digit => char::to_string(&digit),
                };
                let play = |name| {
                    let file = format!("/usr/share/sip-tester/dtmf_2833_{name}.pcap");
                    format!("<nop><action><exec play_pcap_audio=\"{file}\"/></action></nop>\n")
                };
                // Each is played while the next steps run.
                keys.chars().map(key).map(play).collect::<Vec<_>>().join("<pause milliseconds=\"500\"/>\n")
            }
            Step::Info(kind, body) => request("INFO", kind, body) + &expect(200),
            Step::InfoRefused(kind, body) => request("INFO", kind, body) + &expect(415),
            Step::Offer(method, sdp, code) => {
                let ack = if *method == "INVITE" { request("ACK", "", "") } else { String::new() };
                let offer = request(method, "application/sdp", sdp);
                offer.replace("Content-Type", &(std::mem::take(&mut next_header) + "Content-Type"))
                    + &expect(*code)
                    + &ack
            }
            Step::HangUp => request("BYE", "", "") + &expect(200),
            Step::Receive(method) => receive(method, "", "") + &respond(200, "OK", "", ""),
            Step::Cancelled => {
                let refused = respond(487, "Request Terminated", "", "").replace("[last_CSeq:]", "CSeq: 1 INVITE");
                receive("CANCEL", "", "") + &respond(200, "OK", "", "") + &repeated(&refused) + &receive("ACK", "", "")
            }
            Step::ReceiveWith(method, expression) => {
                let check = format!(
                    "<action><ereg regexp=\"{expression}\" search_in=\"msg\" check_it=\"true\" assign_to=\"seen\"/></action>"
                );
                receive(method, &check, "") + &respond(200, "OK", "", "")
            }
            Step::Raw(xml) => xml.clone(),
            Step::Authorized(user, password) => {
                let verify = format!(
                    "<action><verifyauth assign_to=\"known\" username=\"{user}\" password=\"{password}\"/></action>"
                );
                // An unknown sender gets no answer.
                receive("INVITE", &verify, "next=\"known\" test=\"known\"")
                    + "<label id=\"unknown\"/><recv request=\"NONE\"/>\n<label id=\"known\"/>\n"
            }
        };
    }
    let is_set = |name: &&str| xml.contains(&format!("assign_to=\"{name}\""));
    let set: Vec<_> = ["from", "to", "via", "contact", "seen", "blank"].into_iter().filter(is_set).collect();
    let reference =
        if set.is_empty() { String::new() } else { format!("<Reference variables=\"{}\"/>\n", set.join(",")) };
    xml + &reference + "</scenario>\n"
}

/// A request of the callee, as a step: with these headers, a line each, and this body.
pub fn request_with(method: &str, headers: &str, kind: &str, body: &str) -> Step {
    Step::Raw(request(method, kind, body).replace("Max-Forwards", &format!("{headers}Max-Forwards")))
}

/// Returns a response to the INVITE as a step, with the ACK if it is final.
pub fn answer_with(code: u16, phrase: &str, headers: &str, body: &str) -> Step {
    let answer = respond(code, phrase, headers, body);
    Step::Raw(if code < 200 { answer } else { repeated(&answer) + &receive("ACK", "", "") })
}

/// Keeps what requests of the callee need.
const REMEMBER: &str = r#"<action>
    <ereg regexp=".*" search_in="hdr" header="From:" assign_to="from"/>
    <ereg regexp=".*" search_in="hdr" header="To:" assign_to="to"/>
    <ereg regexp=".*" search_in="hdr" header="Via:" assign_to="via"/>
    <ereg regexp="sip:[^&gt;]*" search_in="hdr" header="Contact:" assign_to="contact"/>
    <assignstr assign_to="seen" value=""/>
    <assignstr assign_to="blank" value=" "/>
</action>"#;

fn receive(method: &str, action: &str, attributes: &str) -> String {
    format!("<recv request=\"{method}\" crlf=\"true\" {attributes}>{action}</recv>\n")
}

fn expect(code: u16) -> String {
    format!("<recv response=\"{code}\"/>\n")
}

fn respond(code: u16, phrase: &str, headers: &str, body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\n" };
    let contact = if code < 300 { "Contact: <sip:callee@[local_ip]:[local_port];transport=[transport]>\n" } else { "" };
    format!(
        "<send><![CDATA[\nSIP/2.0 {code} {phrase}\n[last_Via:]\n[last_From:]\n[last_To:];tag=callee[call_number]\n[last_Call-ID:]\n\
         [last_CSeq:]\n[last_Record-Route:]\n{contact}{headers}{kind}\
         Content-Length: [len]\n\n{body}]]></send>\n"
    )
}

/// The same message, sent again until it is acknowledged or answered: after T1 (500 ms), 2*T1, 4*T1 and so on.
fn repeated(send: &str) -> String {
    send.replace("<send>", "<send retrans=\"500\">")
}

fn request(method: &str, kind: &str, body: &str) -> String {
    let kind = if body.is_empty() { String::new() } else { format!("Content-Type: {kind}\n") };
    let send = format!(
        "<send><![CDATA[\n{method} [$contact] SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
         From: [$to];tag=callee[call_number]\nTo: [$from]\n[last_Call-ID:]\nCSeq: [cseq] {method}\nMax-Forwards: 70\n\
         Contact: <sip:callee@[local_ip]:[local_port];transport=[transport]>\n{kind}Content-Length: [len]\n\n{body}]]></send>\n"
    );
    if method == "ACK" { send } else { repeated(&send) }
}

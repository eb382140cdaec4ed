//! Messages of peers, written as text.

use std::fmt::Display;

use phonegate_sip::message::Message;

/// A message that a peer sends. Lines are written as they are given, so they may have any oddity.
#[derive(Clone)]
#[must_use]
pub struct Text {
    lines: Vec<Vec<u8>>,
    body: Vec<u8>,
    length: Option<String>,
}

impl Text {
    /// Begins the response to a request with the headers that it copies.
    pub fn reply(request: &Message, status: impl Display) -> Self {
        let mut text = Self::new(format!("SIP/2.0 {status}"));
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            for value in request.header_values(name) {
                text.lines.push([name.as_bytes(), b": ", value].concat());
            }
        }
        text
    }

    /// Begins a message with its first line.
    pub fn new(line: impl Display) -> Self {
        Self { lines: vec![line.to_string().into_bytes()], body: Vec::new(), length: None }
    }

    /// Adds a line.
    pub fn line(mut self, line: impl Display) -> Self {
        self.lines.push(line.to_string().into_bytes());
        self
    }

    /// Adds a line of any bytes.
    pub fn bytes(mut self, line: &[u8]) -> Self {
        self.lines.push(line.to_vec());
        self
    }

    /// Adds a line for each of these values.
    pub fn each(mut self, name: &str, values: &[&str]) -> Self {
        for value in values {
            self = self.line(format!("{name}: {value}"));
        }
        self
    }

    /// Replaces the line of a header.
    pub fn replace(mut self, name: &str, line: impl Display) -> Self {
        let prefix = format!("{name}:").to_ascii_lowercase();
        let place = self.lines.iter().position(|line| line.to_ascii_lowercase().starts_with(prefix.as_bytes()));
        self.lines[place.expect("the header is there")] = line.to_string().into_bytes();
        self
    }

    /// Adds a tag to To, unless it has one.
    pub fn tag(mut self, tag: &str) -> Self {
        let to = self.lines.iter_mut().find(|line| line.starts_with(b"To: ")).expect("there is a To");
        if !String::from_utf8_lossy(to).replace([' ', '\t'], "").contains(";tag=") {
            to.extend_from_slice(format!(";tag={tag}").as_bytes());
        }
        self
    }

    /// Sets a body.
    pub fn body(mut self, content_type: &str, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self.line(format!("Content-Type: {content_type}"))
    }

    /// Sets a session description that has this name.
    pub fn sdp(self, name: &str) -> Self {
        self.body("application/sdp", sdp(name))
    }

    /// Writes this line in place of Content-Length. Empty: no line at all.
    pub fn length(mut self, line: &str) -> Self {
        self.length = Some(line.to_owned());
        self
    }

    /// Returns the bytes.
    pub fn build(&self) -> Vec<u8> {
        let mut lines = self.lines.clone();
        match &self.length {
            None => lines.push(format!("Content-Length: {}", self.body.len()).into_bytes()),
            Some(line) if line.is_empty() => {}
            Some(line) => lines.push(line.replace("{}", &self.body.len().to_string()).into_bytes()),
        }
        let mut bytes = Vec::new();
        for line in &lines {
            bytes.extend_from_slice(line);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Returns a session description that has this name, so that a test knows it again.
pub fn sdp(name: &str) -> Vec<u8> {
    let lines = format!("v=0\no=- 1 1 IN IP4 192.0.2.7\ns={name}\nc=IN IP4 192.0.2.7\nt=0 0\nm=audio 4000 RTP/AVP 0\n");
    lines.replace('\n', "\r\n").into_bytes()
}

/// Returns the text of a header, which must be there once.
pub fn header(message: &Message, name: &str) -> String {
    let mut values = message.header_values(name);
    let value = values.next().unwrap_or_else(|| panic!("a message has no {name}"));
    assert!(values.next().is_none(), "a message has {name} twice");
    String::from_utf8_lossy(value).into_owned()
}

/// Returns the name of a message: its method or its status with the method of its CSeq.
pub fn name(message: &Message) -> String {
    match (message.method(), message.status(), message.cseq()) {
        (Some(method), _, _) => method.to_string(),
        (None, Some(status), Ok(cseq)) => format!("{status} {}", cseq.method),
        _ => "unreadable".to_owned(),
    }
}

/// The peer's side of a dialog, from which it sends requests.
#[derive(Clone)]
pub struct PeerDialog {
    pub call_id: String,
    /// The peer's From, with its tag.
    pub local: String,
    /// The agent's From, which is the peer's To.
    pub remote: String,
    /// The agent's Contact.
    pub target: String,
    pub cseq: u32,
    /// What the Via of the peer's requests says: transport, host and port.
    pub via: String,
    pub contact: String,
    branches: u32,
}

impl PeerDialog {
    /// Returns the dialog that a response with this tag to an INVITE makes.
    pub fn new(invite: &Message, tag: &str, via: &str, contact: &str) -> Self {
        let mut local = header(invite, "To");
        if !local.contains(";tag=") {
            local.push_str(&format!(";tag={tag}"));
        }
        let contacts = invite.contacts().expect("an INVITE has a Contact");
        Self {
            call_id: header(invite, "Call-ID"),
            local,
            remote: header(invite, "From"),
            target: contacts.first().expect("an INVITE has a Contact").uri_text().to_owned(),
            cseq: 100,
            via: via.to_owned(),
            contact: contact.to_owned(),
            branches: 0,
        }
    }

    /// Begins the next request of the dialog.
    pub fn request(&mut self, method: &str) -> Text {
        self.cseq += 1;
        self.repeated(method, self.cseq)
    }

    /// Returns the ACK of a response to this request: with its branch if the response is no 2xx (RFC 3261, 17.1.1.3).
    pub fn ack(&mut self, request: &Text, status: u16) -> Text {
        let ack = self.repeated("ACK", self.cseq);
        let via = request.lines.iter().find(|line| line.starts_with(b"Via: ")).expect("a request has a Via");
        if status >= 300 { ack.replace("Via", String::from_utf8_lossy(via)) } else { ack }
    }

    /// Returns the CANCEL of this request (RFC 3261, 9.1).
    pub fn cancel(&mut self, request: &Text) -> Text {
        let via = request.lines.iter().find(|line| line.starts_with(b"Via: ")).expect("a request has a Via");
        self.repeated("CANCEL", self.cseq).replace("Via", String::from_utf8_lossy(via))
    }

    /// Begins a request with this number in CSeq, such as an ACK.
    pub fn repeated(&mut self, method: &str, cseq: u32) -> Text {
        self.branches += 1;
        let branch = format!("z9hG4bK-{}-{}", self.local.rsplit('=').next().unwrap_or_default(), self.branches);
        Text::new(format!("{method} {} SIP/2.0", self.target))
            .line(format!("Via: SIP/2.0/{};branch={branch};rport", self.via))
            .line("Max-Forwards: 70")
            .line(format!("From: {}", self.local))
            .line(format!("To: {}", self.remote))
            .line(format!("Call-ID: {}", self.call_id))
            .line(format!("CSeq: {cseq} {method}"))
            .line(format!("Contact: <{}>", self.contact))
    }
}

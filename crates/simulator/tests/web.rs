//! The web server of the page, through real sockets.

use std::time::Duration;

use phonegate_simulator::ending::{Ending, Keys};
use phonegate_simulator::exchange::{Action, Behaviour, Exchange, IncomingCall, MAX_TELEPHONES};
use phonegate_simulator::web::{MAX_BODY_BYTES, MAX_CONNECTIONS, WebServer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Maximum time that a test waits for an event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

const NUMBER: &str = "+14255551212";
const ACTIONS: &str = "/telephones/%2B14255551212/actions";

/// A running server.
struct Rig {
    exchange: Exchange,
    port: u16,
    token: String,
    server: JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The response to a request.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Rig {
    async fn start() -> Self {
        let behaviour = Behaviour { ending: Ending::ByHand, approve_after: None, keys: Keys::default() };
        let exchange = Exchange::new(behaviour);
        let server = WebServer::bind(0, exchange.clone()).await.unwrap();
        let url = server.url();
        let (authority, token) = url.strip_prefix("http://127.0.0.1:").unwrap().split_once("/?token=").unwrap();
        let (port, token) = (authority.parse().unwrap(), token.to_owned());
        Self { exchange, port, token, server: tokio::spawn(server.serve()) }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// Sends bytes, and reads to the end of the connection.
    async fn exchange_bytes(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The server may refuse before it has read all.
        let _ = stream.write_all(bytes).await;
        let mut reply = Vec::new();
        let _ = timeout(EVENT_TIMEOUT, stream.read_to_end(&mut reply)).await.expect("the server answers or closes");
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// Sends a request with these header lines.
    async fn send(&self, request: &str, headers: &[&str], body: &str) -> Reply {
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let length = body.len();
        let text =
            format!("{request} HTTP/1.1\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let reply = self.exchange_bytes(text.as_bytes()).await;
        let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {reply:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn host(&self) -> String {
        format!("Host: 127.0.0.1:{}", self.port)
    }

    fn origin(&self) -> String {
        format!("Origin: http://127.0.0.1:{}", self.port)
    }

    fn with_token(&self, path: &str) -> String {
        format!("{path}?token={}", self.token)
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {}", self.with_token(path)), &[&self.host()], "").await
    }

    /// Sends a request as the page does.
    async fn post(&self, path: &str, body: &str) -> Reply {
        self.send(&format!("POST {}", self.with_token(path)), &[&self.host(), &self.origin()], body).await
    }

    async fn updates(&self) -> Updates {
        let mut stream = self.connect().await;
        let path = self.with_token("/updates");
        stream.write_all(format!("GET {path} HTTP/1.1\r\n{}\r\n\r\n", self.host()).as_bytes()).await.unwrap();
        Updates { stream: BufReader::new(stream) }
    }

    fn ring(&self) -> IncomingCall {
        self.exchange.ring("sip", NUMBER, "+14255550100").expect("the telephone is idle")
    }
}

/// Server-sent events.
struct Updates {
    stream: BufReader<TcpStream>,
}

impl Updates {
    async fn next(&mut self) -> Value {
        loop {
            let mut line = String::new();
            let read =
                timeout(EVENT_TIMEOUT, self.stream.read_line(&mut line)).await.expect("the page is sent something");
            assert!(read.unwrap() > 0, "the connection stays open");
            if let Some(json) = line.strip_prefix("data: ") {
                return serde_json::from_str(json).unwrap();
            }
        }
    }

    /// Reads up to an update of this type.
    async fn next_of(&mut self, kind: &str) -> Value {
        let update = async {
            loop {
                let update = self.next().await;
                if update["type"] == kind {
                    return update;
                }
            }
        };
        timeout(EVENT_TIMEOUT, update).await.unwrap_or_else(|_| panic!("an update of type {kind} arrives"))
    }
}

/// Checks that a refusal says why.
fn assert_refused(reply: &Reply, status: u16, why: &str) {
    assert_eq!(reply.status, status, "{}", reply.body);
    assert!(reply.body.contains(why), "{why:?} is in {:?}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_of_the_page_needs_the_token() {
    let rig = Rig::start().await;
    let files = [
        ("/", "text/html"),
        ("/style.css", "text/css"),
        ("/sound.js", "text/javascript"),
        ("/telephone.js", "text/javascript"),
        ("/page.js", "text/javascript"),
        ("/updates", "text/event-stream"),
    ];
    for (path, content) in files {
        let short = &rig.token[1..];
        for query in ["", "?token=", "?token", &format!("?token={short}"), &format!("?other={}", rig.token)] {
            let reply = rig.send(&format!("GET {path}{query}"), &[&rig.host()], "").await;
            assert_refused(&reply, 403, "token");
            assert!(!reply.body.contains(&rig.token));
        }
        if path != "/updates" {
            let reply = rig.get(path).await;
            assert_eq!(reply.status, 200);
            assert!(reply.head.contains(&format!("content-type: {content}")), "{}", reply.head);
        }
    }
    assert_refused(&rig.get("/phonegate.json").await, 404, "no such page");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_response_has_the_headers_that_protect_the_page() {
    let rig = Rig::start().await;
    for reply in [rig.get("/").await, rig.get("/none").await, rig.send("GET /", &[&rig.host()], "").await] {
        for header in [
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';",
        ] {
            assert!(reply.head.contains(header), "{header} is in {}", reply.head);
        }
        assert!(reply.head.contains("frame-ancestors 'none'") && !reply.head.contains("unsafe"), "{}", reply.head);
    }
    let page = rig.get("/").await.body;
    assert!(!page.contains("<script>") && !page.contains("<style") && !page.contains("style="), "nothing is inline");
    assert!(!page.contains("{token}"), "each address of a file has the token");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_start_has_another_token() {
    let [one, other] = [Rig::start().await, Rig::start().await];
    assert_eq!((one.token.len(), other.token.len()), (32, 32), "128 bits");
    assert_ne!(one.token, other.token);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_name_is_refused() {
    let rig = Rig::start().await;
    let (port, page) = (rig.port, format!("GET {}", rig.with_token("/")));
    for host in [format!("localhost:{port}"), format!("[::1]:{port}")] {
        assert_eq!(rig.send(&page, &[&format!("Host: {host}")], "").await.status, 200, "{host}");
    }
    let others = [
        format!("phonegate.example:{port}"),
        format!("127.0.0.1.phonegate.example:{port}"),
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{}", port ^ 1),
        format!("127.0.0.1:{port}@phonegate.example"),
        String::new(),
    ];
    for host in others {
        assert_refused(&rig.send(&page, &[&format!("Host: {host}")], "").await, 403, "Host");
    }
    assert_refused(&rig.send(&page, &[], "").await, 403, "Host");
    assert_refused(&rig.send(&page, &[&rig.host(), &rig.host()], "").await, 403, "Host");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_another_page_is_refused() {
    let rig = Rig::start().await;
    let (host, ours) = (rig.host(), rig.origin());
    let others = [
        "Origin: null".to_owned(),
        "Origin: http://phonegate.example".to_owned(),
        format!("Origin: https://127.0.0.1:{}", rig.port),
        format!("Origin: http://127.0.0.1:{}", rig.port ^ 1),
        format!("Origin: http://localhost:{}", rig.port),
    ];
    let body = json!({ "number": NUMBER }).to_string();
    let post = format!("POST {}", rig.with_token("/telephones"));
    for origin in &others {
        for request in [format!("GET {}", rig.with_token("/updates")), post.clone()] {
            assert_refused(&rig.send(&request, &[&host, origin], &body).await, 403, "own page");
        }
    }
    assert_refused(&rig.send(&post, &[&host], &body).await, 403, "own page");
    assert_refused(&rig.send(&post, &[&host, &ours, &ours], &body).await, 403, "own page");
    assert_eq!(rig.send(&post, &[&host, &ours], &body).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_listens_on_loopback_only() {
    let rig = Rig::start().await;
    // A server that listens on all addresses also has this one.
    assert!(TcpStream::connect(("127.0.0.2", rig.port)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_sees_a_call_from_its_ring_to_its_end() {
    let rig = Rig::start().await;
    let mut updates = rig.updates().await;
    assert_eq!(updates.next().await, json!({ "type": "snapshot", "telephones": [], "calls": [], "problems": [] }));
    let mut call = rig.ring();
    assert_eq!(updates.next_of("telephone").await["state"], "ringing");
    assert_eq!(updates.next_of("call").await["caller"], "+14255550100");
    let pick_up = rig.post(ACTIONS, r#"{"action":"pick_up"}"#).await;
    assert_eq!((pick_up.status, call.next().await), (204, Action::PickUp));
    assert_eq!(updates.next_of("telephone").await["state"], "in_call");
    call.play("/v8=".to_owned());
    assert_eq!(updates.next_of("audio").await["pcmu"], "/v8=");
    call.speak("en-US", "Press 471.\r\n\u{2028}");
    assert_eq!(updates.next_of("speech").await["text"], "Press 471.\r\n\u{2028}");
    for key in "471#".chars() {
        let press = rig.post(ACTIONS, &json!({ "action": "press", "key": key }).to_string()).await;
        assert_eq!((press.status, call.next().await), (204, Action::Press(key)));
    }
    call.end("PhoneGate hung up.");
    assert_eq!(updates.next_of("call_ended").await["result"], "PhoneGate hung up.");
    let snapshot = rig.updates().await.next().await;
    let texts: Vec<_> = snapshot["calls"][0]["steps"].as_array().unwrap().iter().map(|step| &step["text"]).collect();
    assert!(texts.contains(&&json!("Pressed 7.")), "{texts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_telephone_is_added_by_its_number() {
    let rig = Rig::start().await;
    let mut updates = rig.updates().await;
    updates.next().await;
    let added = rig.post("/telephones", r#"{"number":"+1 (425) 555-1212"}"#).await;
    assert_eq!((added.status, added.body.as_str()), (200, r#"{"number":"+14255551212"}"#));
    assert_eq!(updates.next_of("telephone").await["number"], NUMBER);
    for number in ["alice", "", "<b>", "4255551212", "14255551212"] {
        let reply = rig.post("/telephones", &json!({ "number": number }).to_string()).await;
        assert_refused(&reply, 400, "write it with + and the country code");
    }
    for n in 1..=MAX_TELEPHONES {
        let reply = rig.post("/telephones", &json!({ "number": format!("+1425555{n:04}") }).to_string()).await;
        match n < MAX_TELEPHONES {
            true => assert_eq!(reply.status, 200, "{n}: {}", reply.body),
            false => assert_refused(&reply, 409, &format!("already has {MAX_TELEPHONES} telephones, the maximum")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_with_a_reason() {
    let rig = Rig::start().await;
    let pick_up = r#"{"action":"pick_up"}"#;
    assert_refused(&rig.post(ACTIONS, pick_up).await, 409, "no such telephone");
    assert!(rig.exchange.add(NUMBER));
    assert_refused(&rig.post(ACTIONS, pick_up).await, 409, "in its state");
    let call = rig.ring();
    let bodies = [
        "",
        "pick_up",
        "[]",
        r#"{"action":"burn"}"#,
        r#"{"action":"press"}"#,
        r#"{"action":"press","key":"12"}"#,
        r#"{"action":"set_ending","ending":"none"}"#,
        r#"{"action":"press","key":"1","by":"me"}"#,
        &"[".repeat(MAX_BODY_BYTES),
    ];
    for body in bodies {
        assert_refused(&rig.post(ACTIONS, body).await, 400, "not what the page sends");
    }
    assert_refused(&rig.post(ACTIONS, &" ".repeat(MAX_BODY_BYTES + 1)).await, 413, "too large");
    assert_refused(&rig.post("/telephones/%ff/actions", pick_up).await, 400, "UTF-8");
    assert_refused(&rig.get(ACTIONS).await, 405, "method");
    drop(call);
}

/// The server answers or closes, and then still serves.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_input_does_not_stop_the_server() {
    let rig = Rig::start().await;
    let host = rig.host();
    let page = rig.with_token("/");
    let inputs = [
        "\0".repeat(4_096),
        format!("GET {page} HTTP/9.9\r\n{host}\r\n\r\n"),
        format!("GET {page}{} HTTP/1.1\r\n{host}\r\n\r\n", "a".repeat(1 << 20)),
        format!("GET {page} HTTP/1.1\r\n{host}\r\n{}\r\n", "A: b\r\n".repeat(100_000)),
        format!("POST {page} HTTP/1.1\r\n{host}\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}".repeat(64),
    ];
    for input in inputs {
        let reply = rig.exchange_bytes(input.as_bytes()).await;
        assert!(!reply.starts_with("HTTP/1.1 200"), "{reply}");
        assert_eq!(rig.get("/").await.status, 200);
    }
    let path = rig.with_token(ACTIONS);
    let chunk = format!("400\r\n{}\r\n", " ".repeat(1_024));
    let (origin, chunks) = (rig.origin(), chunk.repeat(64));
    let endless = format!("POST {path} HTTP/1.1\r\n{host}\r\n{origin}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    let reply = rig.exchange_bytes(endless.as_bytes()).await;
    assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 413"), "{reply}");
    assert_eq!(rig.get("/").await.status, 200);
}

/// The clock of this test advances whenever only sockets are waited for.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_too_slow_is_closed() {
    let rig = Rig::start().await;
    let path = rig.with_token(ACTIONS);
    let head = format!("POST {path} HTTP/1.1\r\n{}\r\n{}\r\nContent-Length: 9\r\n\r\n", rig.host(), rig.origin());
    for sent in ["", "GET / HT", &head[..head.len() - 2], &head] {
        let mut stream = rig.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply).await;
        assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 408"), "{sent:?}: {reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_too_slow_gets_a_snapshot() {
    let rig = Rig::start().await;
    let mut updates = rig.updates().await;
    updates.next().await;
    let call = rig.ring();
    // 131 MB: more than the buffers of two sockets, which Linux lets grow to 36 MB, and the updates that are kept.
    let audio = "/".repeat(16_384);
    (0..8_000).for_each(|_| call.play(audio.clone()));
    let snapshot = updates.next_of("snapshot").await;
    assert_eq!(snapshot["telephones"][0]["state"], "ringing");
    call.end("PhoneGate hung up.");
    assert_eq!(updates.next_of("call_ended").await["result"], "PhoneGate hung up.");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_page_is_sent_the_end_of_the_simulator() {
    let rig = Rig::start().await;
    let mut pages = [rig.updates().await, rig.updates().await];
    for page in &mut pages {
        page.next_of("snapshot").await;
    }
    timeout(EVENT_TIMEOUT, rig.exchange.end()).await.expect("both have received it");
    for page in &mut pages {
        assert_eq!(page.next_of("simulator_ended").await, json!({ "type": "simulator_ended" }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_limited() {
    let rig = Rig::start().await;
    let mut pages = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut updates = rig.updates().await;
        updates.next().await;
        pages.push(updates);
    }
    let mut reply = String::new();
    let _ = rig.connect().await.read_to_string(&mut reply).await;
    assert!(reply.starts_with("HTTP/1.1 503 ") && reply.contains("too many connections"), "{reply}");
    // A page that is closed leaves its place to another. Its end is noticed with the next update.
    drop(pages.pop());
    let is_served = async {
        loop {
            rig.exchange.add(NUMBER);
            if rig
                .exchange_bytes(format!("GET {} HTTP/1.0\r\n{}\r\n\r\n", rig.with_token("/"), rig.host()).as_bytes())
                .await
                .contains(" 200 ")
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(EVENT_TIMEOUT, is_served).await.expect("a connection is free again");
}

//! The responses of the server, and what its user presses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Reply, Request, Send, State};
use crate::support::handset::Handset;

pub(super) fn handle(state: &Arc<State>, text: &str, from: SocketAddr, send: &Send) {
    let request = Request { text: text.to_owned(), at: state.address, from };
    if text.starts_with("SIP/2.0") {
        return;
    }
    let branch = request.header("Via").split(";branch=").nth(1).and_then(|rest| rest.split(';').next());
    let transaction = format!("{} {}", branch.unwrap_or_default(), request.method());
    let known = state.sent.lock().unwrap().get(&transaction).cloned();
    if let Some(sent) = known {
        sent.iter().for_each(|message| send(message));
        return;
    }
    let has_response = request.method() != "OPTIONS" || state.answers_options.load(Ordering::Relaxed);
    state.requests.lock().unwrap().push(request.clone());
    let respond = |code: u16, headers: &str, body: &str| {
        let message = response(&request, state, code, headers, body);
        state.sent.lock().unwrap().entry(transaction.clone()).or_default().push(message.clone());
        send(&message);
    };
    state.sent.lock().unwrap().entry(transaction.clone()).or_default();
    match request.method() {
        "ACK" => {}
        "INVITE" => {
            state.invites.lock().unwrap().insert(request.header("Call-ID").to_owned(), text.to_owned());
            state.paths.lock().unwrap().insert(request.header("Call-ID").to_owned(), Arc::clone(send));
            let replies = state.replies.lock().unwrap().clone();
            for reply in replies {
                match reply {
                    Reply::Status(code, headers) => respond(code, &headers, ""),
                    Reply::Verify | Reply::PickUp => {
                        let handset = Handset::on(&state.address.ip().to_string());
                        respond(200, "", &handset.sdp("0 101").replace('\n', "\r\n"));
                        let (state, is_at_once) = (Arc::clone(state), matches!(reply, Reply::Verify));
                        std::thread::spawn(move || press_when_asked(&state, &handset, is_at_once));
                    }
                }
            }
        }
        "CANCEL" => {
            respond(200, "", "");
            let invite = state.invites.lock().unwrap().remove(request.header("Call-ID"));
            if let Some(text) = invite {
                let invite = Request { text, ..request.clone() };
                send(&response(&invite, state, 487, "", ""));
            }
        }
        "REGISTER"
            if request.header("Expires") == "0"
                && request.header("Authorization").is_empty()
                && state.challenges_removals.load(Ordering::Relaxed) =>
        {
            respond(
                401,
                "WWW-Authenticate: Digest realm=\"sbc\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"\r\n",
                "",
            );
        }
        "REGISTER" => {
            let contacts =
                request.text.lines().filter(|line| line.starts_with("Contact:") && !line.contains("expires=0"));
            let contacts: String = contacts.map(|line| format!("{line}\r\n")).collect();
            respond(200, &contacts, "");
        }
        _ if has_response => respond(200, "", ""),
        _ => {}
    }
}

fn press_when_asked(state: &State, handset: &Handset, is_at_once: bool) {
    let first = handset.hear_prompt();
    if !is_at_once {
        super::super::wait_until("the user may press the key", || state.may_press.load(Ordering::Relaxed));
    }
    handset.talk(first.from, 10);
    handset.press(first.from, '#');
}

fn response(request: &Request, state: &State, code: u16, headers: &str, body: &str) -> String {
    let copied: String = ["Via", "From", "To", "Call-ID", "CSeq"]
        .map(|name| {
            let tag =
                if name == "To" && code > 100 && !request.header("To").contains(";tag=") { ";tag=server" } else { "" };
            format!("{name}: {}{tag}\r\n", request.header(name))
        })
        .concat();
    let is_dialog = matches!(request.method(), "INVITE") && code < 300;
    let contact = match is_dialog {
        true => format!("Contact: <sip:callee@{};transport={}>\r\n", state.address, state.transport),
        false => String::new(),
    };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!("SIP/2.0 {code} Scripted\r\n{copied}{contact}{headers}{kind}Content-Length: {}\r\n\r\n{body}", body.len())
}

pub(super) fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name)));
    line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
}

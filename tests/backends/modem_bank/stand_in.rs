//! A stand-in for a bank of modems.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

const TOKEN: &str = "not-a-real-token";

/// What happens to a request or a call.
#[derive(Clone, Copy, PartialEq)]
pub enum Script {
    /// The phone rings until the script changes.
    Rings,
    /// The user answers, and enters the code or another one.
    Presses { right: bool },
    /// The user answers, and presses nothing.
    Silence,
    /// The call fails for this reason.
    Fails(&'static str),
    /// The request to call gets this reply.
    Replies(&'static str),
    /// The request to call is read, and its connection closed.
    CallLost,
    /// The request to call is answered after two seconds, and the user then enters the code.
    SlowReply,
    /// The first connection that follows is closed, and the user then enters the code.
    FollowLost,
    /// The phone rings, and the connection that follows gets a line that is not in the protocol.
    FollowGarbled,
    /// The phone rings, and the connection that follows gets a line of a megabyte.
    FollowFlooded,
}

#[derive(Default)]
struct State {
    script: Option<Script>,
    /// The code of each call by its id.
    calls: HashMap<String, String>,
    /// The number of calls that were ended by request.
    ended: usize,
}

/// A bank that listens on this machine until the test ends.
#[derive(Clone)]
pub struct Bank {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Bank {
    /// Starts a bank whose calls follow a script.
    pub fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let bank = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        bank.set(script);
        let serving = bank.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let bank = serving.clone();
                std::thread::spawn(move || bank.serve(connection));
            }
        });
        bank
    }

    /// Changes the script, also for calls that ring.
    pub fn set(&self, script: Script) {
        self.state.lock().unwrap().script = Some(script);
    }

    /// Returns the settings of a backend that uses it.
    pub fn settings(&self) -> Value {
        json!({ "type": "modem_bank", "address": self.address.to_string(), "token": TOKEN })
    }

    /// Returns the number of calls that it accepted.
    pub fn calls(&self) -> usize {
        self.state.lock().unwrap().calls.len()
    }

    /// Returns the number of its calls that were ended by request.
    pub fn ended_calls(&self) -> usize {
        self.state.lock().unwrap().ended
    }

    fn script(&self) -> Script {
        self.state.lock().unwrap().script.unwrap_or(Script::Rings)
    }

    fn serve(&self, mut connection: TcpStream) {
        let mut request = String::new();
        let _ = BufReader::new(connection.try_clone().unwrap()).read_line(&mut request);
        match request.split_whitespace().collect::<Vec<_>>()[..] {
            [TOKEN, "HELLO"] => reply(&mut connection, "READY"),
            [TOKEN, "CALL", id, _, _, code] => self.call(&mut connection, id, code),
            [TOKEN, "FOLLOW", id] => self.follow(&mut connection, id),
            [TOKEN, "END", id] => self.end(&mut connection, id),
            _ => reply(&mut connection, "REFUSED TOKEN"),
        }
    }

    fn call(&self, connection: &mut TcpStream, id: &str, code: &str) {
        match self.script() {
            Script::Replies(text) => return reply(connection, text),
            Script::CallLost => return,
            Script::SlowReply => std::thread::sleep(Duration::from_secs(2)),
            _ => {}
        }
        self.state.lock().unwrap().calls.insert(id.to_owned(), code.to_owned());
        reply(connection, "ACCEPTED");
    }

    fn end(&self, connection: &mut TcpStream, id: &str) {
        let mut state = self.state.lock().unwrap();
        state.ended += usize::from(state.calls.contains_key(id));
        reply(connection, "ENDED");
    }

    fn follow(&self, connection: &mut TcpStream, id: &str) {
        let Some(code) = self.state.lock().unwrap().calls.get(id).cloned() else {
            return reply(connection, "FAILED UNKNOWN");
        };
        reply(connection, "RINGING");
        while self.script() == Script::Rings {
            std::thread::sleep(Duration::from_millis(10));
        }
        match self.script() {
            Script::FollowLost => return self.set(Script::Presses { right: true }),
            Script::FollowGarbled => return reply(connection, "+++ATH0"),
            Script::FollowFlooded => return reply(connection, &"A".repeat(1 << 20)),
            Script::Fails(reason) => return reply(connection, &format!("FAILED {reason}")),
            _ => reply(connection, "ANSWERED"),
        }
        match self.script() {
            Script::Silence => reply(connection, "PRESSED - PAUSE"),
            Script::Presses { right: false } => reply(connection, "PRESSED 1 POUND"),
            _ => reply(connection, &format!("PRESSED {code} POUND")),
        }
    }
}

fn reply(connection: &mut TcpStream, text: &str) {
    // The backend may have dropped the request.
    let _ = connection.write_all(format!("{text}\n").as_bytes());
}

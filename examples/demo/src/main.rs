//! Calls a telephone in the browser through the built library, over SIP on this machine. If no one picks up within 20 s,
//! the telephone approves the call by itself.
//!
//! `demo PLACE_CALL LIBRARY NUMBER`, as `make run` does: the program of examples/rust places the call, with a
//! configuration that points at the simulator. The exit code is that of the program: 0 if the call was verified.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use phonegate::config::{ApprovalMethod, PromptsConfig};
use phonegate::prompts::{Language, Prompts};
use phonegate_approval::script::Piece;
use phonegate_simulator::ending::{Ending, Keys};
use phonegate_simulator::exchange::{Behaviour, Exchange};
use phonegate_simulator::number;
use phonegate_simulator::recognition::Recordings;
use phonegate_simulator::sip;
use phonegate_simulator::web::WebServer;
use serde_json::json;

/// The time after which a call that was not picked up approves by itself.
const APPROVE_AFTER: Duration = Duration::from_secs(20);

/// Maximum time until pages have received the end.
const END_WITHIN: Duration = Duration::from_secs(1);

/// The interval in which the end of the call is looked for.
const POLL: Duration = Duration::from_millis(100);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(place_call), Some(library), Some(number)) = (arguments.next(), arguments.next(), arguments.next()) else {
        eprintln!("usage: demo PLACE_CALL LIBRARY NUMBER");
        return Ok(ExitCode::from(2));
    };
    let (sender, interrupted) = mpsc::channel();
    ctrlc::set_handler(move || {
        // At the end of the program, the receiver is gone.
        let _ = sender.send(());
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;

    let keys = Keys::default();
    let exchange = Exchange::new(Behaviour { ending: Ending::ByHand, approve_after: Some(APPROVE_AFTER), keys });
    if let Some(number) = number::parse(&number) {
        exchange.add(&number);
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let callee = runtime.block_on(sip::listen(exchange.clone(), address, Arc::new(recordings()?)))?;
    let web = runtime.block_on(WebServer::bind(0, exchange.clone()))?;
    let url = web.url();
    runtime.spawn(web.serve());

    let folder = tempfile::tempdir()?;
    let config = folder.path().join("phonegate.json");
    let trunk = format!("sip:{}", callee.address());
    let settings = json!({
        "use": ["telephone"],
        "allow_test_backends": true,
        "backends": { "telephone": { "type": "sip", "trunk": trunk, "caller_id": sip::CALLER_ID } },
        "call": { "status_wait_ms": 0 },
        "numbers": { "default_country": "US" },
        "store": { "type": "memory" },
    });
    std::fs::write(&config, settings.to_string())?;

    println!("A telephone rings at {url}");
    println!("Open it on this machine, pick up, and press what the call says.");
    println!("If no one picks up within {} s, the telephone does, and approves.\n", APPROVE_AFTER.as_secs());
    if has_display() && open::that_detached(&url).is_err() {
        println!("The browser could not be opened: open the address yourself.\n");
    }

    let mut program = Command::new(place_call);
    let ended = run(program.args([library, number]).env("PHONEGATE_CONFIG", &config), &interrupted)?;
    // An open page receives the end of the call before this, so it shows it.
    let _ = runtime.block_on(async { tokio::time::timeout(END_WITHIN, exchange.end()).await });
    runtime.shutdown_timeout(POLL);
    Ok(match ended {
        Some(status) if status.success() => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::from(130),
    })
}

/// Runs a program to its end. Ctrl-C ends it: it then returns `None`.
fn run(program: &mut Command, interrupted: &Receiver<()>) -> Result<Option<ExitStatus>, Box<dyn Error>> {
    let mut program = program.spawn()?;
    loop {
        if let Some(status) = program.try_wait()? {
            return Ok(Some(status));
        }
        if interrupted.recv_timeout(POLL) != Err(RecvTimeoutError::Timeout) {
            // Ctrl-C in a terminal has ended it already.
            let _ = program.kill();
            program.wait()?;
            return Ok(None);
        }
    }
}

/// Returns PhoneGate's own recordings.
fn recordings() -> Result<Recordings, Box<dyn Error>> {
    let prompts = Prompts::load(&PromptsConfig::default(), ApprovalMethod::default().into(), Path::new(""))?;
    let pieces = |language: &Language| {
        let recording = |piece: Piece| Some((piece, language.get(piece)?));
        Piece::ALL.into_iter().filter_map(recording).collect::<Vec<_>>()
    };
    Ok(Recordings::new(prompts.languages().iter().map(pieces)))
}

/// Returns whether a browser would be seen.
fn has_display() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(any(windows, target_os = "macos")) || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}

//! sipp as the caller that does the same: it plays audio until the key has come, and hangs up.
//!
//! Since version 3.7, each call has a port of its own for its audio, as with PhoneGate. Before version 3.7, sipp sent
//! the audio of all calls from one socket, and read none.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::peer::Heard;
use crate::support;
use crate::support::ports::free_port;
use crate::support::process::allow_files;
use crate::{CALLS, Run, total};

/// Time after which sipp ends. Version 3.7.7 does not end by itself if the callee sends audio.
const LIMIT_S: usize = 60;

/// The name and the version of the program.
pub fn name() -> String {
    let output = support::tool("sipp", "sip-tester").arg("-v").output().expect("sipp runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let version =
        text.split_once("SIPp v").and_then(|(_, rest)| rest.split(|c: char| c != '.' && !c.is_ascii_digit()).next());
    format!("sipp {}", version.expect("sipp prints its version").trim_end_matches('.'))
}

/// Places the calls, each with the given number of audio packets. sipp cannot read digits: a call counts as verified if
/// it ends as planned.
pub fn place(port: u16, packets: usize) -> Run {
    let folder = tempfile::tempdir().expect("a folder");
    let scenario = include_str!("caller.xml").replace("[milliseconds]", &(packets * 20).to_string());
    std::fs::write(folder.path().join("caller.xml"), scenario).expect("the scenario is written");
    // A minute of sound.
    std::fs::write(folder.path().join("audio.ul"), vec![0x55; 60 * 8_000]).expect("the audio is written");
    allow_files(CALLS + 100);
    let start = Instant::now();
    #[expect(clippy::zombie_processes, reason = "`wait` waits for it")]
    let process = support::tool("sipp", "sip-tester")
        .current_dir(folder.path())
        .arg(format!("127.0.0.1:{port}"))
        .args(["-sf", "caller.xml", "-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", &free_port().to_string()])
        // The pace at which PhoneGate places calls.
        .args(["-m", &CALLS.to_string(), "-l", &CALLS.to_string(), "-r", "500", "-nostdin", "-s", "+14255551212"])
        .args(["-mp", "20000", "-buff_size", "4000000", "-timeout", &LIMIT_S.to_string()])
        .stdout(Stdio::null())
        .spawn()
        .expect("sipp runs");
    let (status, cpu) = wait(&process);
    if status != 0 {
        eprintln!("sipp has not ended its calls as planned: its figures below mean nothing");
    }
    let verified = if status == 0 { CALLS } else { 0 };
    Run { verified, seconds: start.elapsed().as_secs_f64(), cpu, memory: None, heard: Heard::default() }
}

/// Waits for a process. Returns its status, and the CPU time that it used.
fn wait(process: &std::process::Child) -> (i32, Duration) {
    let mut status = 0;
    // SAFETY: all zeroes is a valid rusage; both are places for the answer; the child has not been waited for.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::wait4(process.id() as i32, &mut status, 0, &mut usage);
        usage
    };
    (status, total(&usage))
}

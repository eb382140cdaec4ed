//! Reads an SDP answer from standard input and prints whether it is a usable answer to the default offer.
//!
//! ```sh
//! printf 'v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio 4000 RTP/AVP 0 101\r\n' | cargo run -p phonegate-media --example check_answer
//! ```

use std::io::{Read, stdin};
use std::process::ExitCode;

use phonegate_media::sdp::{Encryption, LocalSession, MAX_BYTES};

fn main() -> ExitCode {
    let mut answer = Vec::new();
    // One byte more than the limit, so that a description that is too large is reported as such.
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    if let Err(error) = stdin().take(limit).read_to_end(&mut answer) {
        eprintln!("cannot read standard input: {error}");
        return ExitCode::FAILURE;
    }
    // Documentation addresses (RFC 5737, RFC 3849). The answer must have the address family of the offer.
    let is_ipv6 = String::from_utf8_lossy(&answer).contains("IN IP6");
    let local = if is_ipv6 { ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 4000).into() } else { ([192, 0, 2, 1], 4000).into() };
    let mut session = LocalSession::new(local, 1, Encryption::Off);
    println!("The offer:\n\n{}", session.offer().replace('\r', ""));
    match session.check_answer(&answer) {
        Ok(remote) => {
            println!("The answer is accepted.");
            println!("audio:            {} to {}", remote.codec.name(), remote.rtp);
            println!("telephone events: {:?}", remote.event_types);
            println!("direction:        {}", remote.direction.as_str());
            println!("on hold:          {}", remote.is_on_hold());
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("The answer cannot be used: {error}.");
            ExitCode::FAILURE
        }
    }
}

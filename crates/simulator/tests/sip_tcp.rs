//! TCP connections to the SIP callee.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use phonegate_approval::script::Piece;
use phonegate_simulator::ending::{Ending, Keys};
use phonegate_simulator::exchange::{Behaviour, Exchange};
use phonegate_simulator::recognition::Recordings;
use phonegate_simulator::sip::{SipCallee, listen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Maximum time that a test waits for an event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

/// The number of connections that the callee keeps.
const MAX_CONNECTIONS: usize = 64;

async fn callee() -> SipCallee {
    let behaviour = Behaviour { ending: Ending::ByHand, approve_after: None, keys: Keys::default() };
    let recordings = Recordings::new(Vec::<Vec<(Piece, Vec<i16>)>>::new());
    listen(Exchange::new(behaviour), "127.0.0.1:0".parse().unwrap(), Arc::new(recordings)).await.unwrap()
}

/// Sends OPTIONS, and returns whether they are answered. False if the connection was closed.
async fn is_served(stream: &mut TcpStream) -> bool {
    let request = "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bK1\r\n\
        From: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:127.0.0.1>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n\
        Content-Length: 0\r\n\r\n";
    // A closed connection may only show when its reply is read.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut reply = [0; 2_048];
    match timeout(EVENT_TIMEOUT, stream.read(&mut reply)).await.expect("the callee answers or closes") {
        Ok(length) => reply[..length].starts_with(b"SIP/2.0 200 OK\r\n"),
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
            false
        }
    }
}

#[tokio::test]
async fn the_idlest_connection_makes_room_for_a_new_one() {
    let callee = callee().await;
    let connect = || TcpStream::connect(callee.address());
    let mut used_first = connect().await.unwrap();
    assert!(is_served(&mut used_first).await);
    let mut idle = Vec::new();
    for _ in 1..MAX_CONNECTIONS {
        idle.push(connect().await.unwrap());
    }
    // The last one was accepted, so all were.
    let last = idle.last_mut().unwrap();
    assert!(is_served(last).await);
    assert!(is_served(&mut used_first).await);
    let mut new = connect().await.unwrap();
    assert!(is_served(&mut new).await, "a new connection is served");
    assert!(is_served(&mut used_first).await, "a connection in use is kept");
    assert!(!is_served(&mut idle[0]).await, "the one that was idle for the longest time is closed");
    assert!(is_served(&mut idle[1]).await, "no other one is closed");
}

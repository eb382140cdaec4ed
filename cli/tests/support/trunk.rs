//! A SIP trunk that answers OPTIONS, and refuses calls.

use std::net::UdpSocket;

/// A trunk on a free port of 127.0.0.1, over UDP. It runs until the process ends.
pub fn start() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut packet = [0; 8_192];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            let request = String::from_utf8_lossy(&packet[..length]).into_owned();
            let status = if request.starts_with("OPTIONS ") { "200 OK" } else { "403 Forbidden" };
            let copied = ["via", "from", "to", "call-id", "cseq"];
            let copied = request.lines().filter(|line| {
                line.split_once(':').is_some_and(|(name, _)| copied.contains(&name.to_ascii_lowercase().as_str()))
            });
            let head: Vec<_> = copied.map(|line| format!("{line}\r\n")).collect();
            let response = format!("SIP/2.0 {status}\r\n{}Content-Length: 0\r\n\r\n", head.concat());
            let _ = socket.send_to(response.as_bytes(), from);
        }
    });
    address
}

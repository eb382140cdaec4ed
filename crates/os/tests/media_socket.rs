//! The sockets of audio, on the loopback interface.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use phonegate_os::MediaSocket;

fn open() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

fn stream() -> (MediaSocket, SocketAddr) {
    let socket = open();
    let address = socket.local_addr().unwrap();
    (MediaSocket::for_stream(socket, |_| ()).unwrap(), address)
}

fn read(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 16];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..length].to_vec(), from)
}

async fn receive(socket: &MediaSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 16];
    let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
    (buffer[..length].to_vec(), from)
}

#[tokio::test]
async fn packets_arrive_with_their_source_in_both_directions() {
    let (here, there) = (open(), open());
    let (our_address, their_address) = (here.local_addr().unwrap(), there.local_addr().unwrap());
    let (here, there) = (MediaSocket::new(here).unwrap(), MediaSocket::for_stream(there, |_| ()).unwrap());
    for (from, to, source, target) in
        [(&here, &there, our_address, their_address), (&there, &here, their_address, our_address)]
    {
        // The receiver waits before the packet is sent.
        let sent = async { from.try_send_to(b"abc", target).unwrap() };
        assert_eq!(tokio::join!(receive(to), sent), ((b"abc".to_vec(), source), 3));
    }
}

#[tokio::test]
async fn a_stream_is_sent_from_its_own_port_to_each_address() {
    let (stream, address) = stream();
    let peers = [open(), open()];
    for peer in [0, 0, 1, 0] {
        stream.try_send_to(b"abc", peers[peer].local_addr().unwrap()).unwrap();
        assert_eq!(read(&peers[peer]), (b"abc".to_vec(), address));
    }
}

#[tokio::test]
async fn a_stream_receives_from_its_peer_and_from_others() {
    let (stream, address) = stream();
    let (peer, other) = (open(), open());
    for round in 0..3 {
        for (socket, text) in [(&peer, b"peer"), (&other, b"else")] {
            socket.send_to(text, address).unwrap();
            assert_eq!(receive(&stream).await, (text.to_vec(), socket.local_addr().unwrap()), "round {round}");
        }
        // From the first packet on, the peer is known.
        stream.try_send_to(b"abc", peer.local_addr().unwrap()).unwrap();
        assert_eq!(read(&peer).1, address);
    }
}

#[tokio::test]
async fn an_error_of_an_earlier_packet_loses_no_later_one() {
    let (stream, address) = stream();
    let peer = open();
    let target = peer.local_addr().unwrap();
    stream.try_send_to(b"abc", target).unwrap();
    drop(peer);
    // On loopback, the kernel answers each with an ICMP message before the call returns.
    for _ in 0..3 {
        let _ = stream.try_send_to(b"lost", target);
    }
    let peer = UdpSocket::bind(target).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    for text in [b"1st", b"2nd"] {
        stream.try_send_to(text, target).unwrap();
        assert_eq!(read(&peer), (text.to_vec(), address));
    }
}

#[tokio::test]
async fn no_other_socket_can_bind_the_port_of_a_stream() {
    let (_stream, address) = stream();
    assert_eq!(UdpSocket::bind(address).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    #[cfg(target_os = "linux")]
    {
        let another = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        another.set_reuse_port(true).unwrap();
        let refused = another.bind(&address.into()).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::AddrInUse, "also to a program that shares its ports");
    }
}

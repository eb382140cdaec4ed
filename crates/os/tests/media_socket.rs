//! The sockets of audio, on the loopback interface.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use phonegate_os::{MediaSocket, PeerReader};

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

/// Waits for one packet, as a call does: its task and a reader of many streams wait for it.
async fn receive(socket: &MediaSocket) -> (Vec<u8>, SocketAddr) {
    let mut reader = PeerReader::new(16);
    let read = async {
        loop {
            let mut received = None;
            reader.read([socket].into_iter(), |index, arrival| {
                assert_eq!((index, received.is_some()), (0, false));
                received = Some((arrival.packet.to_vec(), arrival.from));
            });
            match received {
                Some(received) => break received,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    tokio::select! {
        received = read => received,
        received = receive_by_task(socket) => received,
    }
}

/// Waits for one packet that no reader of many streams reads.
async fn receive_by_task(socket: &MediaSocket) -> (Vec<u8>, SocketAddr) {
    let mut received = None;
    socket.receive::<16>(|packet, from| received = Some((packet.to_vec(), from))).await.unwrap();
    received.unwrap()
}

/// Streams that have sent a packet to their peer, with their addresses.
fn streams_to(peer: &UdpSocket, count: usize) -> Vec<(MediaSocket, SocketAddr)> {
    let streams: Vec<_> = (0..count).map(|_| stream()).collect();
    for (stream, address) in &streams {
        stream.try_send_to(b"abc", peer.local_addr().unwrap()).unwrap();
        assert_eq!(read(peer).1, *address);
    }
    streams
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

#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_reader_reads_what_arrived_for_all_streams() {
    let peer = open();
    let source = peer.local_addr().unwrap();
    let streams = streams_to(&peer, 300);
    let mut reader = PeerReader::new(16);
    for round in 0..3u8 {
        // Some peers send nothing, others up to three packets.
        let sent = |index: usize| index % 4;
        for (index, (_, address)) in streams.iter().enumerate() {
            (0..sent(index)).for_each(|n| _ = peer.send_to(&[round, index as u8, n as u8], address).unwrap());
        }
        let mut received = vec![Vec::new(); streams.len()];
        reader.read(streams.iter().map(|(stream, _)| stream), |index, arrival| {
            assert_eq!(arrival.from, source);
            received[index].push(arrival.packet.to_vec());
        });
        for (index, packets) in received.into_iter().enumerate() {
            let expected: Vec<_> = (0..sent(index)).map(|n| vec![round, index as u8, n as u8]).collect();
            assert_eq!(packets, expected, "stream {index}");
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_arrival_has_the_time_when_it_came() {
    let peer = open();
    let streams = streams_to(&peer, 1);
    peer.send_to(b"abc", streams[0].1).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let read = Instant::now();
    let mut times = Vec::new();
    PeerReader::new(16).read([&streams[0].0].into_iter(), |_, arrival| times.push(arrival.at));
    // The kernel's wall clock and the clock of this test are not read at the same instant.
    assert!(times.len() == 1 && times[0] + Duration::from_millis(100) < read, "{times:?}, read at {read:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_task_receives_from_a_peer_that_sends_too_much() {
    let peer = open();
    let streams = streams_to(&peer, 2);
    let mut reader = PeerReader::new(16);
    let send = |packets: u8, to: SocketAddr| (0..packets).for_each(|n| _ = peer.send_to(&[n], to).unwrap());
    send(200, streams[0].1);
    let mut counts = [0u8; 2];
    reader.read(streams.iter().map(|(stream, _)| stream), |index, _| counts[index] += 1);
    assert!((1..200).contains(&counts[0]), "the rest is not for the reader: {counts:?}");
    send(1, streams[1].1);
    for n in counts[0]..200 {
        assert_eq!(receive_by_task(&streams[0].0).await.0, [n]);
    }
    // The waiting task is woken by the next one.
    let next = async {
        tokio::task::yield_now().await;
        send(1, streams[0].1);
    };
    assert_eq!(tokio::join!(receive_by_task(&streams[0].0), next).0.0, [0]);
    reader.read(streams.iter().map(|(stream, _)| stream), |index, _| counts[index] += 1);
    assert_eq!(counts[1], 1, "other streams are still the reader's");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_has_arrived_is_read_whoever_reads_the_peer() {
    let peer = open();
    let streams = streams_to(&peer, 2);
    let mut reader = PeerReader::new(16);
    (0..50).for_each(|n| _ = peer.send_to(&[n], streams[0].1).unwrap());
    let mut read = Vec::new();
    // The task reads the rest from now on.
    reader.read(streams.iter().map(|(stream, _)| stream), |_, arrival| read.push(arrival.packet[0]));
    assert!(read.len() < 50);
    for (stream, _) in &streams {
        reader.read_arrived(stream, |arrival| read.push(arrival.packet[0]));
    }
    assert_eq!(read, (0..50).collect::<Vec<_>>());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_task_that_waits_learns_that_its_peer_sends_too_much() {
    let peer = open();
    let streams = streams_to(&peer, 1);
    let (stream, address) = &streams[0];
    let flood = async {
        (0..100).for_each(|n| _ = peer.send_to(&[n], address).unwrap());
        PeerReader::new(16).read([stream].into_iter(), |_, _| ());
    };
    assert_eq!(tokio::join!(receive_by_task(stream), flood).0.0.len(), 1);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn errors_of_sent_packets_hide_no_received_ones() {
    let peer = open();
    let streams = streams_to(&peer, 1);
    let (stream, address) = &streams[0];
    let target = peer.local_addr().unwrap();
    peer.send_to(b"last", address).unwrap();
    drop(peer);
    // On loopback, the kernel answers with an ICMP message before the call returns.
    let _ = stream.try_send_to(b"lost", target);
    let mut packets = Vec::new();
    PeerReader::new(16).read([stream].into_iter(), |_, arrival| packets.push(arrival.packet.to_vec()));
    assert_eq!(packets, [b"last"]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_long_packet_is_cut() {
    let peer = open();
    let streams = streams_to(&peer, 1);
    peer.send_to(&[7; 40], streams[0].1).unwrap();
    let mut packets = Vec::new();
    PeerReader::new(16).read([&streams[0].0].into_iter(), |_, arrival| packets.push(arrival.packet.to_vec()));
    assert_eq!(packets, [vec![7; 16]]);
}

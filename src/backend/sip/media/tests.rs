//! The audio of a call with real packets on this machine: what is sent, and which keys count.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;
use rtcp_types::{Compound, Packet};
use rtp_types::{RtpPacket, RtpPacketBuilder};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::sdp::Codec;
use super::srtp::CryptoLine;
use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const POUND: u8 = 11;

/// The other side of a call.
struct Peer {
    socket: UdpSocket,
    srtp: Option<Srtp>,
    ssrc: u32,
    sequence: u16,
}

impl Peer {
    async fn new() -> Self {
        Self { socket: UdpSocket::bind((HERE, 0)).await.unwrap(), srtp: None, ssrc: 77, sequence: 100 }
    }

    fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// Its description, with these lines of its audio.
    fn sdp(&self, formats: &str, lines: &str) -> String {
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} {formats}\r\n{lines}",
            self.port()
        )
    }

    fn plain(&self) -> String {
        self.sdp("RTP/AVP 0 101", "")
    }

    /// The packet that arrives next: its bytes.
    async fn receive(&self) -> Vec<u8> {
        let mut buffer = [0; MAX_PACKET];
        let (length, _) = timeout(PATIENCE, self.socket.recv_from(&mut buffer)).await.expect("a packet").unwrap();
        buffer[..length].to_vec()
    }

    /// Waits for a packet that is as it should be.
    async fn hears(&self, is: impl Fn(&RtpPacket<'_>) -> bool) -> Vec<u8> {
        timeout(PATIENCE, async {
            loop {
                let packet = self.receive().await;
                if is(&RtpPacket::parse(&packet).unwrap()) {
                    return packet;
                }
            }
        })
        .await
        .expect("such a packet")
    }

    fn packet(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let packet = RtpPacketBuilder::<_, &[u8]>::new().payload_type(payload_type).sequence_number(self.sequence);
        let packet = packet.timestamp(timestamp).ssrc(self.ssrc).payload(payload).write_vec().unwrap();
        match &mut self.srtp {
            Some(srtp) => srtp.protect(&packet).unwrap(),
            None => packet,
        }
    }

    async fn send(&self, media: &Media, packet: &[u8]) {
        self.socket.send_to(packet, (HERE, media.shared.ports.rtp())).await.unwrap();
    }

    /// Sends the end of a key that was pressed for 160 ms, in two packets.
    async fn press(&mut self, media: &Media, payload_type: u8, timestamp: u32, code: u8) {
        for _ in 0..2 {
            let packet = self.packet(payload_type, timestamp, &[code, 0x8a, 5, 0]);
            self.send(media, &packet).await;
        }
    }
}

fn ports() -> Arc<Ports> {
    Ports::new("rtp_ports", &crate::config::PortRange::default()).unwrap()
}

/// A call that is answered, and in which keys have counted for a while.
async fn call(encryption: MediaEncryption) -> (Media, Keys, Peer) {
    call_with(encryption, false).await
}

/// As `call`; the other side may send from another port than it names.
async fn call_with(encryption: MediaEncryption, learns_port: bool) -> (Media, Keys, Peer) {
    let (media, keys) = Media::open(HERE, &ports(), encryption, learns_port).unwrap();
    let mut peer = Peer::new().await;
    let answer = match encryption {
        MediaEncryption::Off => peer.plain(),
        _ => {
            let offered = media.offer().lines().find_map(|line| line.strip_prefix("a=crypto:").map(str::to_owned));
            let (ours, theirs) = (Keying::new().unwrap(), CryptoLine::parse(&offered.unwrap()).unwrap());
            peer.srtp = Srtp::new(&ours, &theirs);
            peer.sdp("RTP/SAVP 0 101", &format!("a=crypto:{}\r\n", ours.answer(&theirs)))
        }
    };
    media.accept_answer(answer.as_bytes()).unwrap();
    media.listen();
    sleep(Duration::from_millis(200)).await;
    (media, keys, peer)
}

/// The next key.
async fn next(keys: &mut Keys) -> Option<char> {
    timeout(PATIENCE, keys.recv()).await.expect("a key arrives")
}

/// A key that must not count is followed by one that does, so that a test need not wait for nothing.
async fn then_only_zero(media: &Media, keys: &mut Keys, peer: &mut Peer) {
    peer.press(media, KEY_EVENTS, 4_000_000, 0).await;
    assert_eq!(next(keys).await, Some('0'));
}

#[tokio::test]
async fn a_port_that_is_learnt_is_that_of_the_first_packet() {
    let (media, mut keys, peer) = call_with(MediaEncryption::Off, true).await;
    // Its port is another one, as a NAT router makes it.
    let mut routed = Peer::new().await;
    let audio = routed.packet(0, 160, &[0xff; 160]);
    routed.send(&media, &audio).await;
    routed.hears(|_| true).await;
    let mut late = peer;
    late.press(&media, KEY_EVENTS, 8000, POUND).await;
    then_only_zero(&media, &mut keys, &mut routed).await;
    assert_eq!(media.dropped(), Dropped { packets: 2, from_another_port: 2 });
}

#[tokio::test]
async fn another_port_than_the_named_one_is_never_heard_and_hears_nothing() {
    for encryption in [MediaEncryption::Off, MediaEncryption::Required] {
        let (media, mut keys, mut peer) = call(encryption).await;
        let other = Peer::new().await;
        let audio = peer.packet(0, 160, &[0xff; 160]);
        other.send(&media, &audio).await;
        for _ in 0..2 {
            let event = peer.packet(KEY_EVENTS, 8000, &[POUND, 0x8a, 5, 0]);
            other.send(&media, &event).await;
        }
        then_only_zero(&media, &mut keys, &mut peer).await;
        assert_eq!(media.dropped(), Dropped { packets: 3, from_another_port: 3 });
        assert!(other.socket.try_recv(&mut [0; 10]).is_err(), "nothing is sent there");
    }
}

#[tokio::test]
async fn keys_of_another_stream_count_only_once_the_audio_is_silent() {
    let (media, mut keys, mut peer) = call(MediaEncryption::Off).await;
    let mut other = Peer { ssrc: 78, ..Peer::new().await };
    let audio = peer.packet(0, 160, &[0xff; 160]);
    peer.send(&media, &audio).await;
    for packet in [
        other.packet(KEY_EVENTS, 8000, &[POUND, 0x8a, 5, 0]),
        other.packet(KEY_EVENTS, 8000, &[POUND, 0x8a, 5, 0]),
        other.packet(0, 160, &[0xff; 160]),
    ] {
        peer.send(&media, &packet).await;
    }
    then_only_zero(&media, &mut keys, &mut peer).await;
    assert_eq!(media.dropped(), Dropped { packets: 3, from_another_port: 0 });
    // A transfer: one stream ends, and another one begins.
    sleep(Duration::from_millis(1100)).await;
    for packet in [
        other.packet(0, 320, &[0xff; 160]),
        other.packet(KEY_EVENTS, 16_000, &[5, 0x8a, 5, 0]),
        other.packet(KEY_EVENTS, 16_000, &[5, 0x8a, 5, 0]),
    ] {
        peer.send(&media, &packet).await;
    }
    assert_eq!(next(&mut keys).await, Some('5'));
}

#[tokio::test]
async fn nothing_is_sent_or_heard_before_the_answer() {
    let (media, mut keys) = Media::open(HERE, &ports(), MediaEncryption::Off, false).unwrap();
    let mut peer = Peer::new().await;
    media.listen();
    assert_eq!(media.answer_offer(peer.plain().as_bytes()), Err(SdpError::TooEarly));
    peer.press(&media, KEY_EVENTS, 8000, POUND).await;
    sleep(Duration::from_millis(300)).await;
    assert!(peer.socket.try_recv(&mut [0; 10]).is_err());
    media.accept_answer(peer.plain().as_bytes()).unwrap();
    let first = peer.receive().await;
    assert!(RtpPacket::parse(&first).unwrap().marker_bit(), "a talkspurt begins");
    then_only_zero(&media, &mut keys, &mut peer).await;
    assert_eq!(media.dropped(), Dropped::default(), "early audio is usual");
}

#[tokio::test]
async fn a_key_pressed_before_the_prompt_and_held_into_it_never_counts() {
    let (media, mut keys) = Media::open(HERE, &ports(), MediaEncryption::Off, false).unwrap();
    let mut peer = Peer::new().await;
    media.accept_answer(peer.plain().as_bytes()).unwrap();
    peer.press(&media, KEY_EVENTS, 8000, POUND).await;
    peer.hears(|_| true).await;
    media.listen();
    // One that was seen before, and one whose duration tells that it was pressed before: 8 s.
    peer.press(&media, KEY_EVENTS, 8000, POUND).await;
    for _ in 0..2 {
        let held = peer.packet(KEY_EVENTS, 80_000, &[POUND, 0x0a, 0xff, 0xfe]);
        peer.send(&media, &held).await;
    }
    sleep(Duration::from_millis(200)).await;
    then_only_zero(&media, &mut keys, &mut peer).await;
}

#[tokio::test]
async fn while_the_other_side_holds_nothing_is_sent_and_the_clock_goes_on() {
    let (media, mut keys, mut peer) = call(MediaEncryption::Off).await;
    media.answer_offer(peer.sdp("RTP/AVP 0 101", "a=inactive\r\n").as_bytes()).unwrap();
    peer.press(&media, KEY_EVENTS, 8000, POUND).await;
    // What was under way arrives; then it is silent.
    let mut last = peer.receive().await;
    while let Ok(packet) = timeout(Duration::from_millis(400), peer.receive()).await {
        last = packet;
    }
    let answer = media.answer_offer(peer.plain().as_bytes()).unwrap();
    assert!(answer.contains("a=sendrecv"), "{answer}");
    let resumed = peer.receive().await;
    let (last, resumed) = (RtpPacket::parse(&last).unwrap(), RtpPacket::parse(&resumed).unwrap());
    assert!(resumed.marker_bit(), "a talkspurt begins");
    assert_eq!((resumed.ssrc(), resumed.sequence_number()), (last.ssrc(), last.sequence_number().wrapping_add(1)));
    let passed = resumed.timestamp().wrapping_sub(last.timestamp());
    assert!(passed >= 10 * 160 && passed.is_multiple_of(160), "{passed}");
    then_only_zero(&media, &mut keys, &mut peer).await;
}

#[tokio::test]
async fn another_address_codec_and_payload_type_are_switched_to() {
    let (media, mut keys, mut before) = call(MediaEncryption::Off).await;
    then_only_zero(&media, &mut keys, &mut before).await;
    let mut after = Peer::new().await;
    let offer = after.sdp("RTP/AVP 8 96", "a=rtpmap:96 telephone-event/8000\r\n");
    let answer = media.answer_offer(offer.as_bytes()).unwrap();
    assert!(answer.contains("RTP/AVP 8 96\r\n"), "{answer}");
    after.hears(|packet| packet.payload_type() == Codec::Pcma.payload_type()).await;
    let audio = after.packet(8, 160, &[0xd5; 160]);
    after.send(&media, &audio).await;
    after.hears(|_| true).await;
    // The source is the new side, and so is the payload type.
    before.press(&media, 96, 8_000_000, POUND).await;
    after.press(&media, KEY_EVENTS, 8_000_000, POUND).await;
    after.press(&media, 96, 8_008_000, 5).await;
    assert_eq!(next(&mut keys).await, Some('5'));
    assert!(media.press("42").is_some());
    after.hears(|packet| packet.payload_type() == 96 && packet.payload()[0] == 4 && packet.marker_bit()).await;
    after.hears(|packet| packet.payload_type() == 96 && packet.payload()[0] == 2 && packet.marker_bit()).await;
}

#[tokio::test]
async fn an_offer_that_we_were_asked_for_may_be_answered_with_a_hold() {
    let (media, mut keys, mut peer) = call(MediaEncryption::Off).await;
    let versions = [media.offer(), media.offer()].map(|sdp| sdp.lines().nth(1).unwrap().to_owned());
    assert_ne!(versions[0], versions[1], "each description has its own version");
    media.accept_answer(peer.sdp("RTP/AVP 0 101", "a=inactive\r\n").as_bytes()).unwrap();
    peer.press(&media, KEY_EVENTS, 8000, POUND).await;
    sleep(Duration::from_millis(100)).await;
    media.accept_answer(peer.plain().as_bytes()).unwrap();
    then_only_zero(&media, &mut keys, &mut peer).await;
    assert_eq!(media.accept_answer(b"v=0"), media.accept_answer(b"v=0"));
    assert!(media.accept_answer(peer.sdp("RTP/AVP 18", "").as_bytes()).is_err());
    let offer = peer.sdp("RTP/AVP 18", "");
    assert_eq!(media.answer_offer(offer.as_bytes()), Err(SdpError::Codec));
    peer.hears(|packet| packet.payload_type() == 0).await;
}

#[tokio::test]
async fn where_key_events_were_not_agreed_on_none_counts() {
    let (media, mut keys) = Media::open(HERE, &ports(), MediaEncryption::Off, false).unwrap();
    let mut peer = Peer::new().await;
    media.accept_answer(peer.sdp("RTP/AVP 0", "").as_bytes()).unwrap();
    media.listen();
    sleep(Duration::from_millis(200)).await;
    peer.press(&media, KEY_EVENTS, 8000, POUND).await;
    assert!(media.press("42").is_none());
    sleep(Duration::from_millis(100)).await;
    media.accept_answer(peer.plain().as_bytes()).unwrap();
    then_only_zero(&media, &mut keys, &mut peer).await;
}

#[tokio::test]
async fn where_audio_is_encrypted_only_what_is_authentic_counts_and_only_once() {
    let (media, mut keys, mut peer) = call(MediaEncryption::Required).await;
    let plain = Peer { srtp: None, ..Peer::new().await }.packet(KEY_EVENTS, 8000, &[POUND, 0x8a, 5, 0]);
    peer.send(&media, &plain).await;
    let mut forged = peer.packet(KEY_EVENTS, 16_000, &[POUND, 0x8a, 5, 0]);
    forged[12] ^= 1;
    peer.send(&media, &forged).await;
    let five = [(); 2].map(|()| peer.packet(KEY_EVENTS, 24_000, &[5, 0x8a, 5, 0]));
    for packet in [&five[0], &five[0], &five[1], &five[1]] {
        peer.send(&media, packet).await;
    }
    assert_eq!(next(&mut keys).await, Some('5'));
    then_only_zero(&media, &mut keys, &mut peer).await;
    assert_eq!(media.dropped().packets, 4);
    // What we send is opened by the other side, whose key an echo of ours is not.
    let sealed = peer.receive().await;
    let opened = peer.srtp.as_mut().unwrap().open(&sealed).unwrap();
    assert_eq!(RtpPacket::parse(&opened).unwrap().payload(), [0xff; 160]);
    let echo = media.offer().lines().find_map(|line| line.strip_prefix("a=crypto:1 ").map(str::to_owned)).unwrap();
    let echo = peer.sdp("RTP/SAVP 0 101", &format!("a=crypto:1 {echo}\r\n"));
    assert_eq!(media.accept_answer(echo.as_bytes()), Err(SdpError::Encryption));
}

#[tokio::test]
async fn another_suite_has_another_key_of_ours() {
    let (media, _keys, peer) = call(MediaEncryption::Required).await;
    let key = |sdp: &str| sdp.split("inline:").nth(1).and_then(|rest| rest.get(..40)).unwrap().to_owned();
    let (before, theirs) = (key(&media.offer()), Keying::new().unwrap());
    let offered = |suite: &str| {
        let line = theirs.offered().find(|line| line.contains(suite)).unwrap();
        peer.sdp("RTP/SAVP 0 101", &format!("a=crypto:{line}\r\n"))
    };
    assert_eq!(key(&media.answer_offer(offered("SHA1_80").as_bytes()).unwrap()), before);
    assert_ne!(key(&media.answer_offer(offered("SHA1_32").as_bytes()).unwrap()), before);
}

#[tokio::test]
async fn reports_come_while_a_call_goes_on_and_a_goodbye_at_its_end() {
    let (media, _keys) = Media::open(HERE, &ports(), MediaEncryption::Off, false).unwrap();
    let (peer, reports) = (Peer::new().await, Peer::new().await);
    let answer = peer.sdp("RTP/AVP 0 101", &format!("a=rtcp:{}\r\n", reports.port()));
    media.accept_answer(answer.as_bytes()).unwrap();
    let names = |report: &[u8]| -> Vec<&str> {
        let packets = Compound::parse(report).unwrap().map(Result::unwrap);
        packets
            .map(|packet| match packet {
                Packet::Sr(_) => "SR",
                Packet::Sdes(_) => "SDES",
                Packet::Bye(_) => "BYE",
                _ => "?",
            })
            .collect()
    };
    assert_eq!(names(&reports.receive().await), ["SR", "SDES"]);
    drop(media);
    assert_eq!(names(&reports.receive().await), ["SR", "SDES", "BYE"]);
}

#[tokio::test]
async fn a_pair_of_ports_is_even_and_odd_and_free_again_after_its_call() {
    let range = serde_json::from_value(json!({ "first": 31_001, "last": 31_006 })).unwrap();
    let ports = Ports::new("rtp_ports", &range).unwrap();
    let take = || Media::open(HERE, &ports, MediaEncryption::Off, false);
    let calls = [take().unwrap().0, take().unwrap().0];
    let mut taken = calls.each_ref().map(|media| media.shared.ports.rtp());
    taken.sort();
    assert_eq!(taken, [31_002, 31_004]);
    assert_eq!(calls[0].shared.rtcp.local_addr().unwrap().port() % 2, 1);
    let problem = "all of the 2 pairs of ports for audio are in use";
    assert_eq!(take().map(drop), Err(problem.to_owned()));
    drop(calls);
    // The task of a call that is gone ends when it is next looked at.
    timeout(PATIENCE, async {
        while take().is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("they are free");
    let elsewhere =
        Media::open("203.0.113.1".parse().unwrap(), &ports, MediaEncryption::Off, false).map(drop).unwrap_err();
    assert!(elsewhere.contains("203.0.113.1 cannot be opened"), "{elsewhere}");
    for (first, last) in [(31_001, 31_002), (65_534, 65_534), (31_004, 31_002)] {
        let range = serde_json::from_value(json!({ "first": first, "last": last })).unwrap();
        assert!(Ports::new("rtp_ports", &range).is_err(), "{first} to {last}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn garbage_and_mutations_are_no_key_and_no_crash(
        packets in proptest::collection::vec((any::<Vec<u8>>(), any::<prop::sample::Index>(), any::<u8>()), 1..40),
        encrypted in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let encryption = if encrypted { MediaEncryption::Required } else { MediaEncryption::Off };
        runtime.block_on(async {
            let (media, mut keys, mut peer) = call(encryption).await;
            for (garbage, index, byte) in packets {
                // The stream of the call: a mutated SSRC is not taken for it.
                let good = peer.packet(0, 160, &[0xff; 160]);
                peer.send(&media, &good).await;
                let mut audio = peer.packet(0, 160, &[0xff; 160]);
                let index = index.index(audio.len());
                // The payload type alone would make it another packet.
                audio[index] = if index == 1 { 0 } else { byte };
                peer.send(&media, &audio).await;
                if garbage.get(1).is_none_or(|second| second & 0x7f != KEY_EVENTS) {
                    peer.send(&media, &garbage).await;
                }
            }
            then_only_zero(&media, &mut keys, &mut peer).await;
        });
    }
}

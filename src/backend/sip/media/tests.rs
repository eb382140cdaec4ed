//! The audio of a call with real packets on this machine: what is sent, and which keys count.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use phonegate_approval::policy::Method;
use phonegate_approval::script::Piece;
use phonegate_media::dtmf::InfoError;
use phonegate_media::rtp::{RtpHeader, RtpPacket};
use phonegate_media::sdp::{Codec, TELEPHONE_EVENT};
use phonegate_media::srtp::Srtp;
use proptest::prelude::*;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::*;
use crate::config::PromptsConfig;
use crate::prompts::Prompts;

mod sources;

const PATIENCE: Duration = Duration::from_secs(30);
/// The time between two packets.
const PERIOD: Duration = Duration::from_millis(20);
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

    /// Answers an offer with keys of its own.
    fn answers_encrypted(&mut self, offer: &str) -> String {
        let Encryption::Required(keys) = encryption(MediaEncryption::Required).unwrap() else { panic!("it has keys") };
        let address = self.socket.local_addr().unwrap();
        let mut local = LocalSession::new(address, 1, Encryption::Required(keys.clone()));
        let offer = local.check_offer(offer.as_bytes()).unwrap();
        let mut srtp = Srtp::new(&keys).unwrap();
        srtp.set_peer_key(offer.remote().key.as_ref().unwrap()).unwrap();
        self.srtp = Some(srtp);
        local.answer(&offer)
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
                if is(&RtpPacket::read(&packet).unwrap()) {
                    return packet;
                }
            }
        })
        .await
        .expect("such a packet")
    }

    fn packet(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let header = RtpHeader { marker: false, payload_type, sequence: self.sequence, timestamp, ssrc: self.ssrc };
        let packet = header.write(payload);
        match &mut self.srtp {
            Some(srtp) => srtp.protect_rtp(&packet).unwrap(),
            None => packet,
        }
    }

    async fn send(&self, media: &Media, packet: &[u8]) {
        self.socket.send_to(packet, (HERE, port(media))).await.unwrap();
    }

    /// Sends audio at its pace.
    async fn talk(&mut self, media: &Media, packets: u32) {
        for n in 0..packets {
            let audio = self.packet(0, n * 160, &[0xff; 160]);
            self.send(media, &audio).await;
            sleep(PERIOD).await;
        }
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
    Ports::new("rtp_ports", &crate::backend::sip::PortRange::default()).unwrap()
}

const SETTINGS: MediaSettings =
    MediaSettings { address: HERE, encryption: MediaEncryption::Off, learns_port: false, is_signalling_tls: false };

/// A call that is not answered yet.
fn opened() -> (Media, Keys) {
    Media::open(&SETTINGS, &ports()).unwrap()
}

/// A call that is answered, and in which keys have counted for a while.
async fn call(encryption: MediaEncryption) -> (Media, Keys, Peer) {
    call_with(encryption, false).await
}

/// As `call`; the other side may send from another port than it names.
async fn call_with(encryption: MediaEncryption, learns_port: bool) -> (Media, Keys, Peer) {
    let (media, keys) = Media::open(&MediaSettings { encryption, learns_port, ..SETTINGS }, &ports()).unwrap();
    let mut peer = Peer::new().await;
    let offer = media.offer();
    let answer = match encryption {
        MediaEncryption::Off => peer.plain(),
        _ => peer.answers_encrypted(&offer),
    };
    answered(&media, &answer);
    media.listen();
    sleep(Duration::from_millis(200)).await;
    (media, keys, peer)
}

/// The port that audio arrives at.
fn port(media: &Media) -> u16 {
    media.shared.rtp.local_addr().unwrap().port()
}

fn answered(media: &Media, answer: &str) {
    media.accept_answer(answer.as_bytes()).unwrap();
    media.set_answered();
}

/// How many packets were dropped since they came from another port, and for all reasons.
fn dropped(media: &Media) -> (u64, u64) {
    let dropped = media.summary().received.dropped;
    (dropped.port, dropped.total())
}

/// The next key.
async fn next(keys: &mut Keys) -> Option<char> {
    timeout(PATIENCE, keys.recv()).await.expect("a key arrives").map(|press| press.key)
}

/// A key that must not count is followed by one that does, so that a test need not wait for nothing.
async fn then_only_zero(media: &Media, keys: &mut Keys, peer: &mut Peer) {
    peer.press(media, TELEPHONE_EVENT, 4_000_000, 0).await;
    assert_eq!(next(keys).await, Some('0'));
}

#[tokio::test]
async fn nothing_is_sent_or_heard_before_the_answer() {
    let (media, mut keys) = opened();
    let mut peer = Peer::new().await;
    media.listen();
    media.answer_offer(peer.plain().as_bytes()).unwrap();
    peer.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    sleep(Duration::from_millis(300)).await;
    assert!(peer.socket.try_recv(&mut [0; 10]).is_err());
    assert_eq!(dropped(&media), (0, 2), "no session is agreed on");
    answered(&media, &peer.plain());
    let first = peer.receive().await;
    assert!(RtpPacket::read(&first).unwrap().header.marker, "a talkspurt begins");
    then_only_zero(&media, &mut keys, &mut peer).await;
}

/// Two phones ring, and each makes an offer by UPDATE (RFC 3311).
#[tokio::test]
async fn early_offer_of_the_answering_phone_is_applied() {
    let (media, mut keys) = opened();
    let (mut answering, mut other) = (Peer::new().await, Peer::new().await);
    for peer in [&answering, &other] {
        let answer = media.answer_offer(peer.sdp("RTP/AVP 8 101", "").as_bytes()).unwrap();
        assert!(answer.contains("RTP/AVP 8 101"), "{answer}");
    }
    media.accept_early_offer(answering.sdp("RTP/AVP 8 101", "").as_bytes()).unwrap();
    media.set_answered();
    media.listen();
    answering.receive().await;
    other.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    then_only_zero(&media, &mut keys, &mut answering).await;
    assert!(other.socket.try_recv(&mut [0; 10]).is_err(), "nothing is sent to the other phone");
}

#[tokio::test]
async fn a_key_pressed_before_the_prompt_and_held_into_it_never_counts() {
    let (media, mut keys) = opened();
    let mut peer = Peer::new().await;
    answered(&media, &peer.plain());
    peer.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    peer.hears(|_| true).await;
    media.listen();
    // One that was seen before, and one whose duration tells that it was pressed before: 8 s.
    peer.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    for _ in 0..2 {
        let held = peer.packet(TELEPHONE_EVENT, 80_000, &[POUND, 0x0a, 0xff, 0xfe]);
        peer.send(&media, &held).await;
    }
    sleep(Duration::from_millis(200)).await;
    then_only_zero(&media, &mut keys, &mut peer).await;
}

#[tokio::test]
async fn while_the_other_side_holds_nothing_is_sent_and_the_clock_goes_on() {
    let (media, mut keys, mut peer) = call(MediaEncryption::Off).await;
    media.answer_offer(peer.sdp("RTP/AVP 0 101", "a=inactive\r\n").as_bytes()).unwrap();
    peer.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    // What was under way arrives; then it is silent.
    let mut last = peer.receive().await;
    while let Ok(packet) = timeout(Duration::from_millis(400), peer.receive()).await {
        last = packet;
    }
    let answer = media.answer_offer(peer.plain().as_bytes()).unwrap();
    assert!(answer.contains("a=sendrecv"), "{answer}");
    let resumed = peer.receive().await;
    let (last, resumed) = (RtpPacket::read(&last).unwrap().header, RtpPacket::read(&resumed).unwrap().header);
    assert!(resumed.marker, "a talkspurt begins");
    assert_eq!((resumed.ssrc, resumed.sequence), (last.ssrc, last.sequence.wrapping_add(1)));
    let passed = resumed.timestamp.wrapping_sub(last.timestamp);
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
    after.hears(|packet| packet.header.payload_type == Codec::Pcma.payload_type()).await;
    let audio = after.packet(8, 160, &[0xd5; 160]);
    after.send(&media, &audio).await;
    after.hears(|_| true).await;
    // The source is the new side, and so is the payload type.
    before.press(&media, 96, 8_000_000, POUND).await;
    after.press(&media, 97, 8_000_000, POUND).await;
    after.press(&media, 96, 8_008_000, 5).await;
    assert_eq!(next(&mut keys).await, Some('5'));
    assert!(media.press("42").is_some());
    after.hears(|packet| packet.header.payload_type == 96 && packet.payload[0] == 4 && packet.header.marker).await;
    after.hears(|packet| packet.header.payload_type == 96 && packet.payload[0] == 2 && packet.header.marker).await;
}

#[tokio::test]
async fn an_offer_that_we_were_asked_for_may_be_answered_with_a_hold() {
    let (media, mut keys, mut peer) = call(MediaEncryption::Off).await;
    assert_eq!(media.offer(), media.offer(), "a description that is the same keeps its version");
    media.accept_answer(peer.sdp("RTP/AVP 0 101", "a=inactive\r\n").as_bytes()).unwrap();
    assert!(media.is_on_hold());
    peer.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    sleep(Duration::from_millis(100)).await;
    media.accept_answer(peer.plain().as_bytes()).unwrap();
    assert!(!media.is_on_hold());
    then_only_zero(&media, &mut keys, &mut peer).await;
    assert!(media.accept_answer(b"v=0").is_err());
    assert!(media.accept_answer(peer.sdp("RTP/AVP 18", "").as_bytes()).is_err());
    let offer = peer.sdp("RTP/AVP 18", "");
    assert_eq!(media.answer_offer(offer.as_bytes()), Err(SdpError::Codec.into()));
    peer.hears(|packet| packet.header.payload_type == 0).await;
}

#[tokio::test]
async fn a_first_answer_on_hold_is_no_error_and_nothing_is_said_until_it_ends() {
    for (lines, says) in [("a=inactive\r\n", false), ("a=sendonly\r\n", false), ("a=recvonly\r\n", true)] {
        let (media, mut keys) = opened();
        let mut peer = Peer::new().await;
        answered(&media, &peer.sdp("RTP/AVP 0 101", lines));
        assert!(media.is_on_hold(), "{lines}");
        sleep(Duration::from_millis(100)).await;
        assert_eq!(peer.socket.try_recv(&mut [0; 200]).is_ok(), says, "{lines}");
        media.answer_offer(peer.plain().as_bytes()).unwrap();
        assert!(!media.is_on_hold(), "{lines}");
        media.listen();
        sleep(Duration::from_millis(200)).await;
        peer.receive().await;
        then_only_zero(&media, &mut keys, &mut peer).await;
    }
}

/// The first second of a prompt protects only if it was heard.
#[tokio::test]
async fn of_a_prompt_only_what_was_sent_is_reported() {
    let (media, _keys, peer) = call(MediaEncryption::Off).await;
    media.answer_offer(peer.sdp("RTP/AVP 0 101", "a=inactive\r\n").as_bytes()).unwrap();
    let prompts = Prompts::load(&PromptsConfig::default(), Method::Pound, std::path::Path::new("/")).unwrap();
    let recording = prompts.language_for(None, None).compose([Piece::Intro]).unwrap();
    let mut said = media.say(recording);
    sleep(Duration::from_millis(1_500)).await;
    assert!(said.try_recv().is_err(), "nothing was sent");
    let resumed = media.now();
    media.answer_offer(peer.plain().as_bytes()).unwrap();
    for expected in [SpeechProgress::PieceBegan(0), SpeechProgress::SecondSent] {
        let SpeechEvent { at, progress } = timeout(PATIENCE, said.recv()).await.unwrap().unwrap();
        assert_eq!(progress, expected);
        assert!(at >= resumed, "{progress:?}");
    }
    let sent = media.summary().sent;
    assert!(sent >= 60, "200 ms of silence and a second of speech were sent: {sent} packets");
}

#[tokio::test]
async fn where_key_events_were_not_agreed_on_only_info_counts() {
    let (media, mut keys) = opened();
    let mut peer = Peer::new().await;
    let info = || media.receive_info("application/dtmf-relay", b"Signal=#\r\nDuration=300").map(|press| press.key);
    assert_eq!(info(), Err(InfoError::NotAccepted), "before the answer");
    answered(&media, &peer.sdp("RTP/AVP 0", ""));
    media.listen();
    sleep(Duration::from_millis(200)).await;
    peer.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    assert!(media.press("42").is_none());
    assert_eq!(info(), Ok('#'));
    let press = media.receive_info("application/dtmf-relay", b"Signal=5\r\nDuration=3000").unwrap();
    assert!(press.began + Duration::from_secs(3) <= media.now(), "it was pressed at most so long before");
    assert_eq!(media.receive_info("application/dtmf", b"55").map(drop), Err(InfoError::Body));
    sleep(Duration::from_millis(100)).await;
    media.accept_answer(peer.plain().as_bytes()).unwrap();
    assert_eq!(info(), Err(InfoError::NotAccepted), "events were agreed on");
    then_only_zero(&media, &mut keys, &mut peer).await;
}

#[tokio::test]
async fn reports_come_while_a_call_goes_on_and_a_goodbye_at_its_end() {
    let (media, _keys) = opened();
    let (peer, reports) = (Peer::new().await, Peer::new().await);
    let answer = peer.sdp("RTP/AVP 0 101", &format!("a=rtcp:{}\r\n", reports.port()));
    answered(&media, &answer);
    let report = reports.receive().await;
    assert!(report.len() > 60 && report[1] == 200, "a sender report: {report:?}");
    assert!(!rtcp::read(&report).unwrap().is_bye);
    // What the other side reports of our audio is in the summary.
    let ssrc = media.shared.state.lock().sender.ssrc();
    let block = rtcp::ReportBlock { ssrc, fraction_lost: 0, cumulative_lost: 3, highest_sequence: 0, jitter: 40 };
    let theirs = rtcp::write(77, None, Some(block), false);
    reports.socket.send_to(&theirs, (HERE, port(&media) + 1)).await.unwrap();
    timeout(PATIENCE, async {
        while media.summary().received.peer_report.is_none() {
            sleep(PERIOD).await;
        }
    })
    .await
    .expect("it is read");
    let line = media.summary().to_string();
    assert!(line.contains("3 lost, jitter 5 ms (RTCP of the other side)"), "{line}");
    drop(media);
    assert!(rtcp::read(&reports.receive().await).unwrap().is_bye);
}

#[tokio::test]
async fn a_pair_of_ports_is_even_and_odd_and_free_again_after_its_call() {
    let range = serde_json::from_value(json!({ "first": 31_001, "last": 31_006 })).unwrap();
    let ports = Ports::new("rtp_ports", &range).unwrap();
    let take = || Media::open(&SETTINGS, &ports);
    let calls = [take().unwrap().0, take().unwrap().0];
    let mut taken = calls.each_ref().map(port);
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
    let settings = MediaSettings { address: "203.0.113.1".parse().unwrap(), ..SETTINGS };
    let elsewhere = Media::open(&settings, &ports).map(drop).unwrap_err();
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
                if garbage.get(1).is_none_or(|second| second & 0x7f != TELEPHONE_EVENT) {
                    peer.send(&media, &garbage).await;
                }
            }
            then_only_zero(&media, &mut keys, &mut peer).await;
        });
    }
}

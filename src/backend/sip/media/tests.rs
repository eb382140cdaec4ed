//! The audio of a call, with real packets over the loopback interface: what is sent, and which digits count.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use phonegate_approval::policy::Method;
use phonegate_approval::script::Piece;
use phonegate_media::dtmf::InfoError;
use phonegate_media::rtcp;
use phonegate_media::rtp::{RtpHeader, RtpPacket};
use phonegate_media::sdp::{Codec, Encryption, TELEPHONE_EVENT};
use phonegate_media::srtp::Srtp;
use proptest::prelude::*;
use serde_json::json;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use super::*;
use crate::config::PromptsConfig;
use crate::prompts::Prompts;

mod late_reading;
mod negotiation;
mod sources;

const TIMEOUT: Duration = Duration::from_secs(30);
/// The time between two packets.
const PACKET_TIME: Duration = Duration::from_millis(20);
const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const POUND: u8 = 11;

/// The peer of a call.
struct Peer {
    socket: UdpSocket,
    srtp: Option<Srtp>,
    ssrc: u32,
    sequence: u16,
}

impl Peer {
    async fn new() -> Self {
        Self { socket: UdpSocket::bind((LOCALHOST, 0)).await.unwrap(), srtp: None, ssrc: 77, sequence: 100 }
    }

    fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// Returns its session description, with these audio formats and lines.
    fn sdp(&self, formats: &str, lines: &str) -> String {
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} {formats}\r\n{lines}",
            self.port()
        )
    }

    fn plain(&self) -> String {
        self.sdp("RTP/AVP 0 101", "")
    }

    /// Answers an offer with master keys of its own.
    fn answer_encrypted(&mut self, offer: &str) -> String {
        let Encryption::Required(keys) = keys::encryption(MediaEncryption::Required).unwrap() else {
            panic!("it has keys")
        };
        let address = self.socket.local_addr().unwrap();
        let mut local = LocalSession::new(address, 1, Encryption::Required(keys.clone()));
        let offer = local.check_offer(offer.as_bytes()).unwrap();
        let mut srtp = Srtp::new(&keys).unwrap();
        srtp.set_peer_key(offer.remote().key.as_ref().unwrap()).unwrap();
        self.srtp = Some(srtp);
        local.answer(&offer)
    }

    /// Receives the next packet.
    async fn receive(&self) -> Vec<u8> {
        let mut buffer = [0; RECEIVE_BUFFER];
        let (length, _) = timeout(TIMEOUT, self.socket.recv_from(&mut buffer)).await.expect("a packet").unwrap();
        buffer[..length].to_vec()
    }

    /// Waits for a packet that matches.
    async fn expect(&self, is: impl Fn(&RtpPacket<'_>) -> bool) -> Vec<u8> {
        timeout(TIMEOUT, async {
            loop {
                let packet = self.receive().await;
                if is(&RtpPacket::read(&packet).unwrap()) {
                    return packet;
                }
            }
        })
        .await
        .expect("a matching packet arrives")
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
        self.socket.send_to(packet, (LOCALHOST, port(media))).await.unwrap();
    }

    /// Sends audio at its usual rate.
    async fn talk(&mut self, media: &Media, packets: u32) {
        for n in 0..packets {
            let audio = self.packet(0, n * 160, &[0xff; 160]);
            self.send(media, &audio).await;
            sleep(PACKET_TIME).await;
        }
    }

    /// Sends the end of a press of 160 ms, in two packets.
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

const SETTINGS: MediaSettings = MediaSettings {
    address: LOCALHOST,
    encryption: MediaEncryption::Off,
    learns_port: false,
    is_signalling_tls: false,
};

/// Opens the media of a call without an SDP answer.
fn opened() -> (Media, DigitReceiver) {
    Media::open(&SETTINGS, &ports()).unwrap()
}

/// Returns an established call in which digits have counted for 200 ms.
async fn call(encryption: MediaEncryption) -> (Media, DigitReceiver, Peer) {
    call_with(encryption, false).await
}

/// As `call`; the peer may send from another port than it names.
async fn call_with(encryption: MediaEncryption, learns_port: bool) -> (Media, DigitReceiver, Peer) {
    let (media, keys) = Media::open(&MediaSettings { encryption, learns_port, ..SETTINGS }, &ports()).unwrap();
    let mut peer = Peer::new().await;
    let offer = media.offer();
    let answer = match encryption {
        MediaEncryption::Off => peer.plain(),
        _ => peer.answer_encrypted(&offer),
    };
    answered(&media, &answer);
    media.accept_digits();
    sleep(Duration::from_millis(200)).await;
    (media, keys, peer)
}

/// Returns the local port of the audio.
fn port(media: &Media) -> u16 {
    media.shared.rtp.local_addr().unwrap().port()
}

fn answered(media: &Media, answer: &str) {
    media.accept_answer(answer.as_bytes()).unwrap();
    media.set_answered();
}

/// Returns the number of packets dropped because of their port, and for all reasons.
fn dropped(media: &Media) -> (u64, u64) {
    let dropped = media.summary().received.dropped;
    (dropped.port, dropped.total())
}

/// Receives the next digit.
async fn next(keys: &mut DigitReceiver) -> Option<char> {
    timeout(TIMEOUT, keys.recv()).await.expect("a key arrives").map(|press| press.digit)
}

/// Checks that the next digit is a `0` that is sent now, so that no earlier press counted.
async fn expect_only_zero(media: &Media, keys: &mut DigitReceiver, peer: &mut Peer) {
    peer.press(media, TELEPHONE_EVENT, 4_000_000, 0).await;
    assert_eq!(next(keys).await, Some('0'));
}

#[tokio::test]
async fn nothing_is_sent_or_accepted_before_the_sdp_answer() {
    let (media, mut keys) = opened();
    let mut peer = Peer::new().await;
    media.accept_digits();
    media.answer_offer(peer.plain().as_bytes()).unwrap();
    peer.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    sleep(Duration::from_millis(300)).await;
    assert!(peer.socket.try_recv(&mut [0; 10]).is_err());
    assert_eq!(dropped(&media), (0, 2), "no session is agreed on");
    answered(&media, &peer.plain());
    let first = peer.receive().await;
    assert!(RtpPacket::read(&first).unwrap().header.marker, "a talkspurt begins");
    expect_only_zero(&media, &mut keys, &mut peer).await;
}

#[tokio::test]
async fn a_digit_held_since_before_the_prompt_never_counts() {
    let (media, mut keys) = opened();
    let mut peer = Peer::new().await;
    answered(&media, &peer.plain());
    peer.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    peer.expect(|_| true).await;
    media.accept_digits();
    // A press that began before, and one that began before by its duration of 8 s.
    peer.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    for _ in 0..2 {
        let held = peer.packet(TELEPHONE_EVENT, 80_000, &[POUND, 0x0a, 0xff, 0xfe]);
        peer.send(&media, &held).await;
    }
    sleep(Duration::from_millis(200)).await;
    expect_only_zero(&media, &mut keys, &mut peer).await;
}

/// The first second of a prompt delays digits only if it was heard.
#[tokio::test]
async fn only_what_was_sent_of_a_prompt_is_reported() {
    let (media, _keys, peer) = call(MediaEncryption::Off).await;
    media.answer_offer(peer.sdp("RTP/AVP 0 101", "a=inactive\r\n").as_bytes()).unwrap();
    let prompts = Prompts::load(&PromptsConfig::default(), Method::Pound, std::path::Path::new("/")).unwrap();
    let recording = prompts.language_for(None, None).compose([Piece::Intro]).unwrap();
    let mut said = media.play(recording);
    sleep(Duration::from_millis(1_500)).await;
    assert!(said.try_recv().is_err(), "nothing was sent");
    let resumed = media.now();
    media.answer_offer(peer.plain().as_bytes()).unwrap();
    for expected in [PlaybackProgress::PieceBegan(0), PlaybackProgress::FirstSecondSent] {
        let PlaybackEvent { at, progress } = timeout(TIMEOUT, said.recv()).await.unwrap().unwrap();
        assert_eq!(progress, expected);
        assert!(at >= resumed, "{progress:?}");
    }
    let sent = media.summary().sent;
    assert!(sent >= 60, "200 ms of silence and a second of speech were sent: {sent} packets");
}

#[tokio::test]
async fn without_telephone_events_only_info_digits_count() {
    let (media, mut keys) = opened();
    let mut peer = Peer::new().await;
    let info = || media.receive_info("application/dtmf-relay", b"Signal=#\r\nDuration=300").map(|press| press.digit);
    assert_eq!(info(), Err(InfoError::NotAccepted), "before the answer");
    answered(&media, &peer.sdp("RTP/AVP 0", ""));
    media.accept_digits();
    sleep(Duration::from_millis(200)).await;
    peer.press(&media, TELEPHONE_EVENT, 8000, POUND).await;
    assert!(media.send_digits("42").is_none());
    assert_eq!(info(), Ok('#'));
    let press = media.receive_info("application/dtmf-relay", b"Signal=5\r\nDuration=3000").unwrap();
    assert!(press.began + Duration::from_secs(3) <= media.now(), "it was pressed at most so long before");
    assert_eq!(media.receive_info("application/dtmf", b"55").map(drop), Err(InfoError::Body));
    sleep(Duration::from_millis(100)).await;
    media.accept_answer(peer.plain().as_bytes()).unwrap();
    assert_eq!(info(), Err(InfoError::NotAccepted), "events were agreed on");
    expect_only_zero(&media, &mut keys, &mut peer).await;
}

#[tokio::test]
async fn rtcp_reports_are_sent_and_a_bye_at_the_end() {
    let (media, _keys) = opened();
    let (peer, reports) = (Peer::new().await, Peer::new().await);
    let answer = peer.sdp("RTP/AVP 0 101", &format!("a=rtcp:{}\r\n", reports.port()));
    answered(&media, &answer);
    let report = reports.receive().await;
    assert!(report.len() > 60 && report[1] == 200, "a sender report: {report:?}");
    assert!(!rtcp::read(&report).unwrap().is_bye);
    // The peer's report on the audio of this side is in the summary.
    let ssrc = media.shared.state.lock().sender.ssrc();
    let block = rtcp::ReportBlock { ssrc, fraction_lost: 0, cumulative_lost: 3, highest_sequence: 0, jitter: 40 };
    let theirs = rtcp::write(77, None, Some(block), false);
    reports.socket.send_to(&theirs, (LOCALHOST, port(&media) + 1)).await.unwrap();
    timeout(TIMEOUT, async {
        while media.summary().received.peer_report.is_none() {
            sleep(PACKET_TIME).await;
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
async fn port_pairs_are_even_and_odd_and_released_after_the_call() {
    let range = serde_json::from_value(json!({ "first": 31_001, "last": 31_006 })).unwrap();
    let ports = Ports::new("rtp_ports", &range).unwrap();
    let take = || Media::open(&SETTINGS, &ports);
    let calls = [take().unwrap().0, take().unwrap().0];
    let mut taken = calls.each_ref().map(port);
    taken.sort();
    assert_eq!(taken, [31_002, 31_004]);
    assert_eq!(calls[0].shared.rtcp.local_addr().unwrap().port() % 2, 1);
    let problem = "all 2 port pairs for audio are in use";
    assert_eq!(take().map(drop), Err(problem.to_owned()));
    drop(calls);
    // The task of a dropped call ends when the runtime polls it.
    timeout(TIMEOUT, async {
        while take().is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("they are free");
    let settings = MediaSettings { address: "203.0.113.1".parse().unwrap(), ..SETTINGS };
    let elsewhere = Media::open(&settings, &ports).map(drop).unwrap_err();
    assert!(elsewhere.contains("cannot open ports on 203.0.113.1"), "{elsewhere}");
    for (first, last) in [(31_001, 31_002), (65_534, 65_534), (31_004, 31_002)] {
        let range = serde_json::from_value(json!({ "first": first, "last": last })).unwrap();
        assert!(Ports::new("rtp_ports", &range).is_err(), "{first} to {last}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn garbage_and_mutations_are_no_digit_and_no_panic(
        packets in proptest::collection::vec((any::<Vec<u8>>(), any::<prop::sample::Index>(), any::<u8>()), 1..40),
        encrypted in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let encryption = if encrypted { MediaEncryption::Required } else { MediaEncryption::Off };
        runtime.block_on(async {
            let (media, mut keys, mut peer) = call(encryption).await;
            for (garbage, index, byte) in packets {
                // A packet of the stream of the call, so that a mutated SSRC does not become the stream.
                let good = peer.packet(0, 160, &[0xff; 160]);
                peer.send(&media, &good).await;
                let mut audio = peer.packet(0, 160, &[0xff; 160]);
                let index = index.index(audio.len());
                // Keep the payload type, or the mutation could be a telephone event.
                audio[index] = if index == 1 { 0 } else { byte };
                peer.send(&media, &audio).await;
                if garbage.get(1).is_none_or(|second| second & 0x7f != TELEPHONE_EVENT) {
                    peer.send(&media, &garbage).await;
                }
            }
            expect_only_zero(&media, &mut keys, &mut peer).await;
        });
    }
}

//! The input is one byte, which selects the encryption and the address family of this side, and a description of the
//! peer.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use phonegate_media::sdp::{Encryption, LocalKeys, LocalSession, MasterKey, RemoteMedia, TELEPHONE_EVENT};

fuzz_target!(|input: &[u8]| {
    let Some((choice, sdp)) = input.split_first() else { return };
    let (rtp, peer): (SocketAddr, SocketAddr) = match choice & 4 {
        0 => (([192, 0, 2, 1], 4002).into(), ([192, 0, 2, 9], 6000).into()),
        _ => (([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 4002).into(), ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9], 6000).into()),
    };
    let encryption = |first| match choice & 3 {
        0 => Encryption::Off,
        1 => Encryption::Optional(keys(first)),
        _ => Encryption::Required(keys(first)),
    };
    let peer = LocalSession::new(peer, 9, encryption(3));
    let mut session = LocalSession::new(rtp, 5, encryption(1));
    let lines = Lines::read(sdp);
    if let Ok(remote) = session.check_answer(sdp) {
        check(&remote, &lines, &session);
        // A peer that answers with a key encrypts.
        let drops_key = remote.key.is_none() && lines.media.len() == 1 && lines.has_key;
        assert!(!drops_key, "a key that was answered is used");
    }
    let Ok(offer) = session.check_offer(sdp) else { return };
    check(offer.remote(), &lines, &session);
    let answer = session.answer(&offer);
    assert_eq!(session.answer(&offer), answer, "an unchanged answer keeps its version");
    assert!(!answer.contains("\r\n\r\n") && answer.is_ascii(), "nothing of the offer breaks a line");
    let answered = Lines::read(answer.as_bytes());
    assert_eq!(answered.media.len(), lines.media.len(), "each media keeps its place");
    assert_eq!(answered.media.iter().filter(|words| words[1] != "0").count(), 1, "one is accepted");
    check_answer(offer.remote(), &peer, &session, &answer);
    check_own_offer(peer, session);
});

/// Checks a description that is accepted.
fn check(remote: &RemoteMedia, lines: &Lines, session: &LocalSession) {
    let own = match session.encryption() {
        Encryption::Off => {
            assert_eq!(remote.key, None);
            None
        }
        Encryption::Optional(keys) => Some(keys),
        Encryption::Required(keys) => {
            assert!(remote.key.is_some(), "required encryption is never dropped");
            Some(keys)
        }
    };
    for (key, own) in remote.key.iter().zip(own) {
        assert!(*key.master_key() != own.sha1_80 && *key.master_key() != own.sha1_32, "a key is not reflected");
    }
    let ip = remote.rtp.ip();
    let is_machine = match ip {
        IpAddr::V4(ip) => !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_multicast(),
    };
    assert!(is_machine && lines.addresses.contains(&ip), "{ip} is named");
    assert!(remote.rtp.port() != 0 && remote.rtcp.is_none_or(|rtcp| rtcp.ip() == ip && rtcp.port() != 0));
    assert!(!ip.is_unspecified() || remote.is_on_hold());
    let port = remote.rtp.port().to_string();
    let needed = [Some(remote.codec.payload_type()), remote.event_type];
    let is_named = lines.media.iter().any(|words| {
        let has = |format: u8| words.iter().skip(3).any(|word| word.parse() == Ok(format));
        words[0].eq_ignore_ascii_case("audio")
            && words[1].trim_start_matches('0') == port
            && needed.into_iter().flatten().all(has)
    });
    assert!(is_named || lines.media.iter().any(|words| words[1].contains('/')), "port and formats are of one line");
    let types = remote.event_types;
    assert_eq!(types.is_empty(), remote.event_type.is_none());
    assert!(remote.event_type.is_none_or(|number| types.contains(number)));
    assert!((0..=255).filter(|number| types.contains(*number)).all(|number| matches!(number, 35..=63 | 96..=127)));
}

/// Checks that the peer can read the answer to its offer, and reads what was agreed on.
fn check_answer(offered: &RemoteMedia, peer: &LocalSession, session: &LocalSession, answer: &str) {
    let read = peer.check_offer(answer.as_bytes()).expect("an answer of this side can be read");
    let read = read.remote();
    assert_eq!((read.codec, read.event_type), (offered.codec, offered.event_type));
    assert_eq!((read.direction.sends, read.direction.receives), (offered.direction.receives, offered.direction.sends));
    let keys = match session.encryption() {
        Encryption::Off => None,
        Encryption::Optional(keys) | Encryption::Required(keys) => Some(keys),
    };
    let agreed = offered.key.as_ref().and_then(|key| Some((key.suite(), keys?.key(key.suite()))));
    assert!(read.key.as_ref().map(|key| (key.suite(), key.master_key())) == agreed, "both have keys, or neither");
}

/// Checks that an offer of this side and its answer can be read, whatever came before.
fn check_own_offer(mut peer: LocalSession, mut session: LocalSession) {
    let offer = session.offer();
    let offer = peer.check_offer(offer.as_bytes()).expect("an offer of this side can be read");
    let answer = peer.answer(&offer);
    let remote = session.check_answer(answer.as_bytes()).expect("the answer to it can be read");
    assert_eq!(remote.key.is_some(), !matches!(session.encryption(), Encryption::Off));
    assert_eq!((remote.event_type, remote.is_on_hold()), (Some(TELEPHONE_EVENT), false));
}

fn keys(first: u8) -> LocalKeys {
    let key = |byte| MasterKey::from_bytes([byte; MasterKey::BYTES]);
    LocalKeys { sha1_80: key(first), sha1_32: key(first + 1) }
}

/// The lines of a description, parsed by other code than that of the crate.
struct Lines {
    addresses: Vec<IpAddr>,
    /// The words of each `m=` line.
    media: Vec<Vec<String>>,
    /// Whether there is a `crypto` attribute after an `m=` line.
    has_key: bool,
}

impl Lines {
    fn read(sdp: &[u8]) -> Self {
        let mut lines = Self { addresses: Vec::new(), media: Vec::new(), has_key: false };
        for line in String::from_utf8_lossy(sdp).split(['\r', '\n']) {
            let line = line.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0');
            let Some((kind, value)) = line.split_once('=') else { continue };
            let words = || value.trim_start().split_ascii_whitespace();
            match kind.trim_end() {
                "c" => lines.addresses.extend(words().nth(2).and_then(|word| word.parse::<IpAddr>().ok())),
                "m" => lines.media.push(words().map(str::to_owned).collect()),
                "a" => {
                    let name = value.split(':').next().unwrap_or_default().trim();
                    lines.has_key |= !lines.media.is_empty() && name.eq_ignore_ascii_case("crypto");
                }
                _ => {}
            }
        }
        lines
    }
}

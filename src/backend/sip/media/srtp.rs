//! Encrypted audio: keys by SDES (RFC 4568), packets by SRTP (RFC 3711).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;
use rtp_types::RtpPacket;
use zeroize::Zeroizing;

/// A master key of 128 bits and a master salt of 112.
const KEY_BYTES: usize = 16;
const SALT_BYTES: usize = 14;

/// How many packets back a late one is taken once.
const REPLAY_WINDOW: usize = 64;

/// The most streams that the other side may have in one call, one after the other.
const MAX_STREAMS: usize = 4;

/// The suites that we speak, the stronger one first, with their tags in our offer.
const SUITES: [(u32, Suite); 2] = [(1, Suite::Sha1_80), (2, Suite::Sha1_32)];

/// An SDES crypto suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suite {
    Sha1_80,
    Sha1_32,
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Self::Sha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::Sha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    fn profile(self) -> ProtectionProfile {
        match self {
            Self::Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            Self::Sha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        }
    }
}

/// A master key and its salt.
#[derive(Clone, PartialEq)]
struct Master(Zeroizing<[u8; KEY_BYTES + SALT_BYTES]>);

/// A `crypto` attribute of the other side.
#[derive(Clone, PartialEq)]
pub(super) struct CryptoLine {
    tag: u32,
    pub(super) suite: Suite,
    master: Master,
}

/// The keys stay out of logs.
impl fmt::Debug for CryptoLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CryptoLine({} {})", self.tag, self.suite.name())
    }
}

impl CryptoLine {
    /// Is it a suite that we offer, under the tag that it has in our offer?
    pub(super) fn was_offered(&self) -> bool {
        SUITES.contains(&(self.tag, self.suite))
    }

    /// Reads one, or says None where it is malformed, of another suite, or has parameters that change the packets.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split_ascii_whitespace();
        let tag = parts.next()?.parse().ok()?;
        let name = parts.next()?;
        let (_, suite) = SUITES.into_iter().find(|(_, suite)| suite.name() == name)?;
        let inline = parts.next()?.strip_prefix("inline:")?;
        let mut inline = inline.split('|');
        let key = Zeroizing::new(STANDARD.decode(inline.next()?).ok()?);
        // A lifetime may follow, which no call reaches; a key index (MKI) may not.
        if inline.any(|part| part.contains(':')) || parts.next().is_some() {
            return None;
        }
        let master = Master(Zeroizing::new(key.as_slice().try_into().ok()?));
        Some(Self { tag, suite, master })
    }
}

/// Our own key for what we send.
pub(super) struct Keying(Master);

impl Keying {
    /// A fresh one.
    pub(super) fn new() -> Result<Self, rustls::crypto::GetRandomFailed> {
        let mut key = Zeroizing::new([0; KEY_BYTES + SALT_BYTES]);
        rustls::crypto::ring::default_provider().secure_random.fill(key.as_mut_slice())?;
        Ok(Self(Master(key)))
    }

    /// The values of our `crypto` attributes in an offer.
    pub(super) fn offered(&self) -> impl Iterator<Item = String> + '_ {
        SUITES.into_iter().map(|(tag, suite)| self.line(tag, suite))
    }

    /// The value of our `crypto` attribute in an answer.
    pub(super) fn answer(&self, offered: &CryptoLine) -> String {
        self.line(offered.tag, offered.suite)
    }

    fn line(&self, tag: u32, suite: Suite) -> String {
        format!("{tag} {} inline:{}", suite.name(), STANDARD.encode(self.0.0.as_slice()))
    }

    /// Did the other side send our own key back? Each side must have its own (RFC 4568, section 6.1).
    pub(super) fn is_echoed_by(&self, theirs: &CryptoLine) -> bool {
        self.0 == theirs.master
    }
}

/// What encrypts and decrypts the packets of one call.
pub(super) struct Srtp {
    theirs: CryptoLine,
    outbound: Context,
    /// A context for each stream (SSRC) that was authentic once. The library keeps a state for each SSRC that it is
    /// shown, authentic or not: one context for all would let forged packets fill the memory, and a forged first packet
    /// misplace the window for replays.
    streams: Vec<(u32, Context)>,
}

impl Srtp {
    /// From our key, and theirs. None where the library refuses them.
    pub(super) fn new(ours: &Keying, theirs: &CryptoLine) -> Option<Self> {
        Some(Self { theirs: theirs.clone(), outbound: context(&ours.0, theirs.suite)?, streams: Vec::new() })
    }

    /// Goes on with what the other side says later, in the same suite. Where its key stays, so does what was received
    /// with it, and nothing is taken twice.
    pub(super) fn go_on(&mut self, theirs: &CryptoLine) {
        if theirs.master != self.theirs.master {
            self.streams.clear();
        }
        self.theirs = theirs.clone();
    }

    pub(super) fn suite(&self) -> Suite {
        self.theirs.suite
    }

    pub(super) fn protect(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        self.outbound.encrypt_rtp(packet).ok().map(Vec::from)
    }

    /// The packet, where it is authentic and new.
    pub(super) fn open(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let ssrc = RtpPacket::parse(packet).ok()?.ssrc();
        if let Some((_, stream)) = self.streams.iter_mut().find(|(known, _)| *known == ssrc) {
            return stream.decrypt_rtp(packet).ok().map(Vec::from);
        }
        if self.streams.len() >= MAX_STREAMS {
            return None;
        }
        let mut stream = context(&self.theirs.master, self.theirs.suite)?;
        let opened = stream.decrypt_rtp(packet).ok()?;
        self.streams.push((ssrc, stream));
        Some(opened.into())
    }

    pub(super) fn protect_rtcp(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        self.outbound.encrypt_rtcp(packet).ok().map(Vec::from)
    }
}

fn context(master: &Master, suite: Suite) -> Option<Context> {
    let provider = rtc_crypto::default_provider().ok()?;
    let (key, salt) = master.0.split_at_checked(KEY_BYTES)?;
    let (rtp, rtcp) = (srtp_replay_protection(REPLAY_WINDOW), srtcp_replay_protection(REPLAY_WINDOW));
    Context::new(key, salt, suite.profile(), Some(rtp), Some(rtcp), provider.crypto()).ok()
}

#[cfg(test)]
mod tests;

//! The audio of a callee: receives packets, and sends those of a test. Its signalling is sipp's.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::time::Duration;

use audio_codec_algorithms::decode_ulaw;
use base64::Engine;
use phonegate_media::rtp::{RtpError, RtpHeader, RtpPacket};
use phonegate_media::sdp::{Encryption, LocalKeys, LocalSession, MasterKey};
use phonegate_media::srtp::Srtp;

use super::sipp::{Callee, Step};

/// The payload type of key events that PhoneGate offers, and therefore gets.
pub const EVENTS: u8 = 101;

/// The synchronization source of a handset's stream.
pub const SSRC: u32 = 77;

/// The key of a handset that encrypts, with its salt.
const SRTP_KEY: [u8; MasterKey::BYTES] = [7; MasterKey::BYTES];

/// A packet that arrived.
#[derive(Clone, Debug)]
pub struct Heard {
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
    pub from: SocketAddr,
}

/// A callee's audio.
pub struct Handset {
    socket: UdpSocket,
    /// Sequence number and time stamp of the next packet.
    next: Mutex<(u16, u32)>,
    /// None if the audio is not encrypted.
    srtp: Mutex<Option<Srtp>>,
}

impl Handset {
    /// A handset on an address of this machine.
    pub fn on(address: &str) -> Self {
        let socket = UdpSocket::bind((address.parse::<IpAddr>().unwrap(), 0)).unwrap();
        socket.set_read_timeout(Some(super::EVENT_TIMEOUT)).unwrap();
        Self { socket, next: Mutex::new((1000, 16_000)), srtp: Mutex::default() }
    }

    /// Starts a callee that rings, picks up with this audio, and receives BYE.
    pub fn callee(&self, formats: &str) -> Callee {
        self.callee_of(formats, 1)
    }

    /// As `callee`, for this number of calls, one after the other. Call [`Handset::hear_out`] between them.
    pub fn callee_of(&self, formats: &str, calls: u32) -> Callee {
        let steps =
            [Step::Invite, Step::Answer(180, "Ringing", ""), Step::PickUpWith(self.sdp(formats)), Step::Receive("BYE")];
        Callee::start(&steps, calls)
    }

    /// A description of this audio, with these payload types.
    pub fn sdp(&self, formats: &str) -> String {
        let address = self.socket.local_addr().unwrap();
        format!(
            "v=0\no=handset 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 {}\nt=0 0\nm=audio {} RTP/AVP {formats}\n\
             a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n",
            address.ip(),
            address.port()
        )
    }

    /// A description of this audio as PCMU and key events, encrypted with the key of [`Handset::encrypt`].
    pub fn encrypted_sdp(&self) -> String {
        let key = base64::prelude::BASE64_STANDARD.encode(SRTP_KEY);
        format!("{}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\n", self.sdp("0 101"))
    }

    /// Encrypts from now on, and opens what arrives with the key of the offer that this callee has received.
    pub fn encrypt(&self, callee: &Callee) {
        super::wait_until("the callee has an offer", || callee.messages().contains("a=crypto:2 "));
        let messages = callee.messages();
        let offer = &messages[messages.find("v=0").unwrap()..];
        let offer = &offer[..offer.find("-----").unwrap_or(offer.len())];
        let key = || MasterKey::from_bytes(SRTP_KEY);
        let keys = LocalKeys { sha1_80: key(), sha1_32: key() };
        let us = LocalSession::new(self.socket.local_addr().unwrap(), 1, Encryption::Optional(keys.clone()));
        let offer = us.check_offer(offer.as_bytes()).expect("an offer with keys");
        let mut srtp = Srtp::new(&keys).unwrap();
        srtp.set_peer_key(offer.remote().key.as_ref().expect("a key")).unwrap();
        *self.srtp.lock().unwrap() = Some(srtp);
    }

    /// The next packet that arrives.
    pub fn hear(&self) -> Heard {
        let mut buffer = [0; 2048];
        let (packet, from) = loop {
            let (length, from) = self.socket.recv_from(&mut buffer).expect("a packet arrives");
            // RTCP of a handset of another test, if this port lies one above that one's.
            if RtpPacket::read(&buffer[..length]).is_err_and(|error| error == RtpError::Rtcp) {
                continue;
            }
            let packet = match &mut *self.srtp.lock().unwrap() {
                Some(srtp) => srtp.open_rtp(&buffer[..length]).expect("it is authentic"),
                None => buffer[..length].to_vec(),
            };
            break (packet, from);
        };
        let RtpPacket { header, payload } = RtpPacket::read(&packet).expect("it is RTP");
        let RtpHeader { payload_type, sequence, timestamp, marker, .. } = header;
        Heard { payload_type, sequence, timestamp, marker, payload: payload.to_vec(), from }
    }

    /// Receives the next packet, and returns the traffic class of its IP header: the upper six bits are the code point of
    /// differentiated services (DSCP).
    pub fn hear_traffic_class(&self) -> u8 {
        socket2::SockRef::from(&self.socket).set_recv_tos_v4(true).unwrap();
        let mut buffer = [0u8; 2048];
        // Of integers, because the kernel's headers must be aligned.
        let mut control = [0u64; 16];
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: a message without buffers is all zeros. It gets two buffers, which outlive it, with their lengths. The
        // macros walk through the headers that the kernel wrote into the second one.
        unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
            (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
            assert!(libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0) > 0, "a packet arrives");
            let mut header = libc::CMSG_FIRSTHDR(&raw const message);
            while let Some(found) = header.as_ref() {
                if (found.cmsg_level, found.cmsg_type) == (libc::IPPROTO_IP, libc::IP_TOS) {
                    return libc::CMSG_DATA(header).read();
                }
                header = libc::CMSG_NXTHDR(&raw const message, header);
            }
        }
        panic!("the kernel reports the traffic class");
    }

    /// Returns whether an unread packet has arrived.
    pub fn has_heard(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let has_heard = self.socket.peek_from(&mut [0; 1]).is_ok();
        self.socket.set_nonblocking(false).unwrap();
        has_heard
    }

    /// Discards the remaining packets of a call that has ended.
    pub fn hear_out(&self) {
        while self.has_heard() {
            self.hear();
        }
    }

    /// Waits for the start of the first prompt, and for a second after it: later keys are not early. A busy gate sends up to
    /// 200 ms of audio at once, and a press is dated back by its duration, so some more packets are awaited.
    pub fn hear_prompt(&self) -> Heard {
        let first = self.hear_speech();
        for _ in 0..75 {
            self.hear();
        }
        first
    }

    /// Waits for the first packet that is not silent.
    pub fn hear_speech(&self) -> Heard {
        loop {
            let heard = self.hear();
            if heard.payload.iter().any(|sample| decode_ulaw(*sample).abs() > 8) {
                return heard;
            }
        }
    }

    /// Waits for the end of a prompt of the tests, and returns the code that it spoke twice.
    pub fn hear_code(&self, length: usize) -> String {
        let mut digits = String::new();
        // The digit of the last packet, and whether it is in the code already.
        let (mut last, mut is_taken, mut silent) = (None, false, 0);
        while digits.len() < 2 * length || silent < 10 {
            let samples: Vec<_> = self.hear().payload.iter().map(|sample| decode_ulaw(*sample)).collect();
            let is_loud = samples.iter().any(|sample| sample.abs() > 1000);
            let crossings = samples.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
            // A tone of f Hz crosses zero 2 * f * 0.02 times in a packet.
            let is_like = |digit: &u32| (super::sip::digit_tone(*digit) * 0.04 - crossings as f32).abs() <= 1.5;
            let digit = (0..10).find(is_like).filter(|_| is_loud);
            is_taken &= is_loud;
            // The first packet of a tone may be half silent, and look like another one.
            if let (Some(value), true, false) = (digit, digit == last, is_taken) {
                digits += &value.to_string();
                is_taken = true;
            }
            silent = if is_loud { 0 } else { silent + 1 };
            last = digit;
        }
        let (once, twice) = digits.split_at(digits.len() / 2);
        assert_eq!(once, twice, "the code is spoken twice");
        once.to_owned()
    }

    /// Sends a packet.
    pub fn send(&self, to: SocketAddr, payload_type: u8, timestamp: u32, payload: &[u8]) {
        self.send_in(SSRC, to, payload_type, timestamp, payload);
    }

    /// Sends a packet of another stream than the usual one.
    pub fn send_in(&self, ssrc: u32, to: SocketAddr, payload_type: u8, timestamp: u32, payload: &[u8]) {
        let mut next = self.next.lock().unwrap();
        let header = RtpHeader { marker: false, payload_type, sequence: next.0, timestamp, ssrc };
        next.0 = next.0.wrapping_add(1);
        self.send_packet(to, &header, payload);
    }

    /// Sends a packet with this header.
    pub fn send_packet(&self, to: SocketAddr, header: &RtpHeader, payload: &[u8]) {
        let packet = header.write(payload);
        let packet = match &mut *self.srtp.lock().unwrap() {
            Some(srtp) => srtp.protect_rtp(&packet).unwrap(),
            None => packet,
        };
        self.socket.send_to(&packet, to).unwrap();
    }

    /// Sends silence, at the pace of audio.
    pub fn talk(&self, to: SocketAddr, packets: u32) {
        self.talk_in(SSRC, to, packets);
    }

    /// As `talk`, in another stream than the usual one.
    pub fn talk_in(&self, ssrc: u32, to: SocketAddr, packets: u32) {
        for n in 0..packets {
            self.send_in(ssrc, to, 0, n * 160, &[0xff; 160]);
            self.wait(Duration::from_millis(20));
        }
    }

    /// Presses a key: its whole train of packets.
    pub fn press(&self, to: SocketAddr, key: char) {
        self.press_in(SSRC, to, key);
    }

    /// As `press`, in another stream than the usual one.
    pub fn press_in(&self, ssrc: u32, to: SocketAddr, key: char) {
        self.press_as(ssrc, to, (EVENTS, self.next_event()), key);
    }

    /// As `press_in`, with this payload type and time stamp.
    pub fn press_as(&self, ssrc: u32, to: SocketAddr, (payload_type, timestamp): (u8, u32), key: char) {
        for n in 1..=8u16 {
            self.send_in(ssrc, to, payload_type, timestamp, &event(key, false, n * 160));
        }
        for _ in 0..3 {
            self.send_in(ssrc, to, payload_type, timestamp, &event(key, true, 1280));
        }
    }

    /// The time stamp of the next key event.
    pub fn next_event(&self) -> u32 {
        let mut next = self.next.lock().unwrap();
        next.1 = next.1.wrapping_add(8000);
        next.1
    }

    /// Waits without reading packets.
    pub fn wait(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// The payload of a key event (RFC 4733, section 2.3).
pub fn event(key: char, end: bool, duration: u16) -> [u8; 4] {
    let code = "0123456789*#".find(key).unwrap() as u8;
    let [high, low] = duration.to_be_bytes();
    [code, if end { 0x8a } else { 0x0a }, high, low]
}

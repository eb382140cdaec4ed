//! The audio of a crowd: one socket, from which many packets are read at a time, each with its time of arrival.

use std::io::IoSliceMut;
use std::mem::zeroed;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use phonegate_media::rtp::{RtpHeader, RtpPacket};

/// A packet that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub sequence: u16,
    /// When the operating system received it, in nanoseconds.
    pub at: u64,
}

/// Maximum packets that are read by one system call.
const BATCH: usize = 256;

/// The longest packet that is read, in bytes.
const LONGEST: usize = 256;

/// Room for a time stamp of the operating system.
const CONTROL: usize = 64;

pub struct AudioSocket {
    socket: UdpSocket,
    buffers: Vec<[u8; LONGEST]>,
}

impl AudioSocket {
    pub fn new(socket: UdpSocket) -> Self {
        let on: libc::c_int = 1;
        // SAFETY: the value is an int that outlives the call, and its size is said.
        let set = unsafe {
            let value = std::ptr::from_ref(&on).cast();
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, value, size_of_val(&on) as u32)
        };
        assert_eq!(set, 0, "the system reports when packets arrived");
        Self { socket, buffers: vec![[0; LONGEST]; BATCH] }
    }

    pub fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// The session description of a call.
    pub fn description(&self) -> String {
        let port = self.socket.local_addr().unwrap().port();
        format!(
            "v=0\r\no=callee 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
        )
    }

    pub fn send(&self, packet: &[u8], to: SocketAddr) {
        let _ = self.socket.send_to(packet, to);
    }

    /// Reads all RTP packets that have arrived, with their source and time.
    pub fn read(&mut self, mut handle: impl FnMut(SocketAddr, RtpPacket<'_>, u64)) {
        loop {
            let (received, count) = self.receive();
            for (buffer, (length, from, at)) in self.buffers.iter().zip(received) {
                if let Ok(packet) = RtpPacket::read(&buffer[..length]) {
                    handle(from, packet, at);
                }
            }
            if count < BATCH {
                return;
            }
        }
    }

    /// Reads packets by one system call. Returns the length, source and time of each, and their number.
    fn receive(&mut self) -> (Vec<(usize, SocketAddr, u64)>, usize) {
        // SAFETY: all zeroes is a valid value of these types.
        let mut names: Vec<libc::sockaddr_in> = vec![unsafe { zeroed() }; BATCH];
        // The system writes headers into it, which have this alignment.
        let mut controls = vec![[0u64; CONTROL / 8]; BATCH];
        let mut slices: Vec<_> = self.buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        let parts = slices.iter_mut().zip(&mut names).zip(&mut controls);
        let mut messages: Vec<libc::mmsghdr> = parts
            .map(|((slice, name), control)| {
                // SAFETY: as above.
                let mut message: libc::mmsghdr = unsafe { zeroed() };
                message.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
                message.msg_hdr.msg_namelen = size_of_val(name) as u32;
                message.msg_hdr.msg_iov = std::ptr::from_mut(slice).cast();
                message.msg_hdr.msg_iovlen = 1;
                message.msg_hdr.msg_control = control.as_mut_ptr().cast();
                message.msg_hdr.msg_controllen = CONTROL as _;
                message
            })
            .collect();
        // SAFETY: as many messages as are said, whose parts outlive the call. IoSliceMut has the layout of iovec.
        let count = unsafe {
            let fd = self.socket.as_raw_fd();
            libc::recvmmsg(fd, messages.as_mut_ptr(), BATCH as u32, libc::MSG_DONTWAIT, std::ptr::null_mut())
        };
        let count = usize::try_from(count).unwrap_or_default();
        let read = messages[..count].iter().zip(&names).map(|(message, name)| {
            let address = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            let from = SocketAddr::from((address, u16::from_be(name.sin_port)));
            (message.msg_len as usize, from, received_at(&message.msg_hdr))
        });
        (read.collect(), count)
    }
}

/// When the system received a message, in nanoseconds.
fn received_at(message: &libc::msghdr) -> u64 {
    // SAFETY: the system has filled in the message; the first header, if there is one, is within its control buffer, and
    // a header of this type has a timespec as its data.
    unsafe {
        let control = libc::CMSG_FIRSTHDR(message);
        assert!(!control.is_null() && (*control).cmsg_type == libc::SO_TIMESTAMPNS, "a time stamp");
        let time: libc::timespec = std::ptr::read_unaligned(libc::CMSG_DATA(control).cast());
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}

/// Whether a payload of PCMU or of a key is silence.
pub fn is_silent(payload: &[u8]) -> bool {
    payload.iter().all(|sample| sample | 0x80 == 0xff)
}

/// A packet of PCMU that is silent.
pub fn silence(sequence: u16, timestamp: u32, ssrc: u32) -> Vec<u8> {
    RtpHeader { marker: false, payload_type: 0, sequence, timestamp, ssrc }.write(&[0xff; 160])
}

/// Returns the n-th packet of a press of # (RFC 4733), from 1 on. `None` after the last.
pub fn key(sequence: u16, timestamp: u32, ssrc: u32, n: usize) -> Option<Vec<u8>> {
    const LAST: usize = 8;
    let [high, low] = (n.min(LAST) as u16 * 160).to_be_bytes();
    let flags = if n < LAST { 0x0a } else { 0x8a };
    let header = RtpHeader { marker: n == 1, payload_type: 101, sequence, timestamp, ssrc };
    // The last is sent three times.
    (n <= LAST + 2).then(|| header.write(&[11, flags, high, low]))
}

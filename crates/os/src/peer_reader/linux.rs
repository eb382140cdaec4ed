//! Asks the kernel once which sockets have packets, and reads those. It keeps the times of arrival, so that jitter can be
//! measured although the packets are read later.

use std::array;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use socket2::{SockAddr, SockAddrStorage};

use super::Arrival;
use crate::MediaSocket;

/// Packets that one system call reads, more than a peer usually sends between two reads.
const BATCH: usize = 4;

/// Maximum packets that are read from a socket in one go. From a peer that sends more, its own task reads from then on. Fewer
/// than the kernel holds for a socket by default, whatever their size, so that a flood is noticed before packets are lost.
const MAX_READ: usize = 2 * BATCH;

/// Maximum packets of one stream that [`PeerReader::read_arrived`] reads: more than the kernel holds for a socket by default.
const MAX_ARRIVED: usize = 512;

/// Limit of the time that a packet can have waited, because the wall clock may have been set meanwhile.
const MAX_AGE: Duration = Duration::from_millis(250);

/// Reads what the peers of many streams have sent.
pub struct PeerReader {
    polls: Vec<libc::pollfd>,
    buffers: [Vec<u8>; BATCH],
}

impl PeerReader {
    /// Creates a reader of packets of up to `longest` bytes. The rest of a longer packet is lost.
    pub fn new(longest: usize) -> Self {
        Self { polls: Vec::new(), buffers: array::from_fn(|_| vec![0; longest]) }
    }

    /// Reads the packets that have arrived, without waiting, and passes each on with the index of its socket. If a socket had
    /// 8 of them or more, [`MediaSocket::receive`] receives its packets from then on.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn read<'a>(
        &mut self,
        sockets: impl Iterator<Item = &'a MediaSocket> + Clone,
        mut receive: impl FnMut(usize, Arrival<'_>),
    ) {
        // The kernel ignores negative descriptors.
        let poll = |socket: &MediaSocket| libc::pollfd {
            fd: socket.unwatched().map_or(-1, AsRawFd::as_raw_fd),
            events: libc::POLLIN,
            revents: 0,
        };
        self.polls.clear();
        self.polls.extend(sockets.clone().map(poll));
        // SAFETY: the pointer and the length are those of the vector.
        let ready = unsafe { libc::poll(self.polls.as_mut_ptr(), self.polls.len() as libc::nfds_t, 0) };
        if ready <= 0 {
            return;
        }
        let clocks = Clocks::now();
        for ((index, socket), poll) in sockets.enumerate().zip(&self.polls) {
            if poll.revents != 0
                && read_up_to(MAX_READ, poll.fd, &mut self.buffers, &clocks, |arrival| receive(index, arrival))
            {
                socket.watch_peer();
            }
        }
    }

    /// Reads the packets that have arrived from the peer of one stream, at most 512, without waiting. For a caller that must
    /// have handled them before it changes what it does with packets.
    pub fn read_arrived(&mut self, socket: &MediaSocket, receive: impl FnMut(Arrival<'_>)) {
        if let Some(socket) = socket.connected() {
            read_up_to(MAX_ARRIVED, socket.as_raw_fd(), &mut self.buffers, &Clocks::now(), receive);
        }
    }
}

/// Reads packets until none is left, or this number was read: then it returns true.
fn read_up_to(
    limit: usize,
    socket: RawFd,
    buffers: &mut [Vec<u8>; BATCH],
    clocks: &Clocks,
    mut receive: impl FnMut(Arrival<'_>),
) -> bool {
    (0..limit / BATCH).all(|_| read_batch(socket, buffers, clocks, &mut receive) == BATCH)
}

/// Both clocks at one time: the kernel stamps packets by the wall clock.
struct Clocks {
    monotonic: Instant,
    wall: SystemTime,
}

impl Clocks {
    fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// Returns when a packet with this stamp arrived.
    fn arrival(&self, stamp: libc::timespec) -> Instant {
        let since_epoch =
            Duration::new(stamp.tv_sec.try_into().unwrap_or_default(), stamp.tv_nsec.try_into().unwrap_or_default());
        let age = self.wall.duration_since(UNIX_EPOCH + since_epoch).unwrap_or_default();
        self.monotonic.checked_sub(age.min(MAX_AGE)).unwrap_or(self.monotonic)
    }
}

/// Has the kernel stamp each received packet with its time of arrival.
pub(crate) fn report_arrival_times(socket: &UdpSocket) -> io::Result<()> {
    let yes: libc::c_int = 1;
    let length = size_of_val(&yes) as libc::socklen_t;
    // SAFETY: the descriptor is open, and the option is an integer of this length.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, (&raw const yes).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Room for the stamp of one packet, aligned as its header (`CMSG_SPACE(sizeof(struct timespec))` is 32).
#[repr(align(8))]
struct Control([u8; 64]);

/// Reads up to [`BATCH`] packets, and returns their number.
fn read_batch(
    socket: RawFd,
    buffers: &mut [Vec<u8>; BATCH],
    clocks: &Clocks,
    mut receive: impl FnMut(Arrival<'_>),
) -> usize {
    let mut sources: [_; BATCH] = array::from_fn(|_| SockAddrStorage::zeroed());
    let mut controls: [_; BATCH] = array::from_fn(|_| Control([0; 64]));
    let mut parts =
        buffers.each_mut().map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() });
    // SAFETY: these are plain structs of integers and pointers, for which all zeroes is valid.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    for (((header, source), control), part) in headers.iter_mut().zip(&mut sources).zip(&mut controls).zip(&mut parts) {
        header.msg_hdr.msg_name = (&raw mut *source).cast();
        header.msg_hdr.msg_namelen = source.size_of();
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = control.0.len();
    }
    let mut read = || {
        // SAFETY: the headers point to the sources, controls and parts above, and these to the buffers, each with its size.
        // All of them outlive the call.
        let read = unsafe {
            libc::recvmmsg(socket, headers.as_mut_ptr(), BATCH as _, libc::MSG_DONTWAIT, std::ptr::null_mut())
        };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    };
    let read = match read() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        // The error is of a packet that was sent and not delivered, and hides those that were received.
        Err(_) => read().unwrap_or_default(),
        Ok(read) => read,
    };
    for ((header, source), buffer) in headers.iter().zip(sources).zip(&*buffers).take(read) {
        // SAFETY: the kernel has written an address of this length.
        let source = unsafe { SockAddr::new(source, header.msg_hdr.msg_namelen) };
        let packet = buffer.get(..header.msg_len as usize).unwrap_or_default();
        let at = stamp(&header.msg_hdr).map_or(clocks.monotonic, |stamp| clocks.arrival(stamp));
        if let Some(from) = source.as_socket() {
            receive(Arrival { packet, from, at });
        }
    }
    read
}

/// Returns the time of arrival that the kernel has written to the control messages of this packet.
fn stamp(header: &libc::msghdr) -> Option<libc::timespec> {
    // SAFETY: the header points to control messages that the kernel has written, and has their length.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: the macros return whole headers within the control messages.
        let kind = unsafe { ((*message).cmsg_level, (*message).cmsg_type) };
        if kind == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
            // SAFETY: the data of this kind is a timespec. It may be unaligned.
            return Some(unsafe { std::ptr::read_unaligned(libc::CMSG_DATA(message).cast()) });
        }
        // SAFETY: as for the first.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    None
}

//! Memory use under hostile traffic, counted by the allocator.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use phonegate_media::rtcp;
use phonegate_media::rtp::RtpHeader;

use support::*;

/// Counts the bytes that are in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Packets of 100,000 streams, with keys and reports, to calls with and without encryption, with and without a learned
/// port. They may cost as much as the state of the few streams that are remembered. One test, as others would be counted.
#[test]
fn hostile_streams_cost_no_memory() {
    for (name, mut call) in
        [("plain", Call::answered(PLAIN)), ("learning", Call::learning()), ("encrypted", Call::encrypted())]
    {
        call.press('1');
        let before = IN_USE.load(Ordering::Relaxed);
        for n in 0..100_000u32 {
            call.now += std::time::Duration::from_millis(1 + u64::from(n % 2) * 1000);
            let from = if n % 4 == 0 { port(5000) } else { port(NAMED) };
            for payload_type in [0, 101] {
                let header = RtpHeader { marker: true, payload_type, sequence: n as u16, timestamp: n, ssrc: n * 7 };
                let digit = char::from_digit(n % 10, 10).unwrap();
                call.media.receive_rtp(
                    call.now,
                    from,
                    &header.write(&[&event(digit, 160, false)[..], &[0; 20]].concat()),
                );
            }
            let report = [rtcp::write(n, None, None, true), vec![0x80; 14]].concat();
            call.media.receive_rtcp(port(NAMED + 1), &report);
            call.media.receive_rtcp(port(NAMED + 1), &rtcp::write(n, None, None, true));
        }
        let grown = IN_USE.load(Ordering::Relaxed).saturating_sub(before);
        assert!(grown < 32_768, "{name}: {grown} bytes");
    }
}

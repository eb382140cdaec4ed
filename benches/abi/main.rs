//! Measures a poll: through the shim and through the C ABI of the built library, loaded as a host loads it, compared
//! with a dictionary in C#, the sample of Microsoft's article, a bare map and dashmap. Also measures the other exports.
//! `make bench` runs it and prints its tables.
//!
//! Needs Mono. The library is target/release/libphonegate.so, or what PHONEGATE_LIBRARY names.

mod host;
mod shim;
mod table;

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use dashmap::DashMap;
use foldhash::fast::RandomState;
use host::Host;
use uuid::Uuid;

const KNOWN: [usize; 3] = [100, 10_000, 1_000_000];
const THREADS: [usize; 2] = [1, 2];

fn main() {
    let polls = shim::polls(&KNOWN);
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let host = Host::start(serde_json::json!({ "type": "memory" }));
    let mut known: Vec<CString> = Vec::new();
    let mut memory = None;
    for count in KNOWN {
        let before = host::resident_bytes();
        let added = count - known.len();
        let ids: Vec<_> = (0..added).map(|_| id()).collect();
        let ids_take = host::resident_bytes() - before;
        host.refuse(&ids);
        known.extend(ids);
        if Some(&count) == KNOWN.last() {
            memory = Some((host::resident_bytes() - before - ids_take) / added);
        }
        // The oldest is forgotten first, and one that is not known has failed, too.
        let message = known.first().map(|id| host.message(id)).unwrap_or_default();
        assert!(message.contains("Blocked"), "all are known: {message}");
        status(&mut criterion, &host, &known);
    }
    initiate(&mut criterion, &host, known.len());
    criterion.final_summary();
    table::print(&KNOWN, &THREADS, &polls, memory.unwrap_or_default(), &host.longest());
}

fn id() -> CString {
    CString::new(Uuid::new_v4().to_string()).expect("a GUID has no NUL")
}

/// GetCallStatus, and the least that any implementation has to do: read the GUID, and look it up.
fn status(criterion: &mut Criterion, host: &Host, known: &[CString]) {
    let parsed = || known.iter().map(|id| (parse(id), 2));
    let bare: HashMap<Uuid, i32, RandomState> = parsed().collect();
    let dash: DashMap<Uuid, i32, RandomState> = parsed().collect();
    let mut group = criterion.benchmark_group(format!("status/{}", known.len()));
    for threads in THREADS {
        group.bench_function(BenchmarkId::new("GetCallStatus", threads), |bencher| {
            bencher.iter_custom(|times| on(threads, times, known, |id| host.status(id)))
        });
        group.bench_function(BenchmarkId::new("bare map", threads), |bencher| {
            bencher
                .iter_custom(|times| on(threads, times, known, |id| bare.get(&parse(id)).copied().unwrap_or_default()))
        });
        group.bench_function(BenchmarkId::new("dashmap", threads), |bencher| {
            bencher.iter_custom(|times| {
                on(threads, times, known, |id| dash.get(&parse(id)).map(|s| *s).unwrap_or_default())
            })
        });
    }
    group.finish();
}

/// From what a C caller has: a pointer, whose length is not known.
fn parse(id: &CStr) -> Uuid {
    // SAFETY: it comes from a CStr.
    let id = unsafe { CStr::from_ptr(black_box(id.as_ptr())) };
    Uuid::try_parse_ascii(id.to_bytes()).unwrap_or_default()
}

/// Each of `threads` asks `times` times, in strides that no cache can foresee. All must be Failed.
fn on(threads: usize, times: u64, known: &[CString], ask: impl Fn(&CStr) -> i32 + Sync) -> Duration {
    const STRIDE: usize = 618_033;
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let ask = &ask;
            scope.spawn(move || {
                let mut at = thread;
                for _ in 0..times {
                    at = (at + STRIDE) % known.len();
                    assert_eq!(black_box(ask(&known[at])), 2);
                }
            });
        }
    });
    start.elapsed()
}

/// InitiateCall of new calls, on the caller's thread. What the calls then do is not measured, but goes on meanwhile.
fn initiate(criterion: &mut Criterion, host: &Host, known: usize) {
    const AT_ONCE: u64 = 1_000;
    let mut group = criterion.benchmark_group(format!("initiate/{known}"));
    group.sample_size(20);
    for threads in THREADS {
        group.bench_function(BenchmarkId::new("InitiateCall", threads), |bencher| {
            bencher.iter_custom(|times| {
                let mut spent = Duration::ZERO;
                let mut left = times;
                while left > 0 {
                    let batch = left.min(AT_ONCE);
                    let calls: Vec<Vec<_>> =
                        (0..threads).map(|_| (0..batch).map(|_| (host.number(), id())).collect()).collect();
                    let start = Instant::now();
                    std::thread::scope(|scope| {
                        for calls in &calls {
                            scope.spawn(move || {
                                for (number, id) in calls {
                                    assert_ne!(black_box(host.initiate(number, id)), 2);
                                }
                            });
                        }
                    });
                    spent += start.elapsed();
                    host.wait_for(calls.iter().flatten().map(|(_, id)| id));
                    left -= batch;
                }
                spent
            })
        });
    }
    group.finish();
}

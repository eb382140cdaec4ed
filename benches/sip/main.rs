//! Three hundred calls at once over a SIP trunk: what they cost, and how evenly they speak. Prints one table.

#[path = "../../tests/support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use phonegate::call::CallStatus;
use serde_json::json;
use support::gate::{TestGate, id};
use support::sipp::{Callee, Step};

const CALLS: u32 = 300;

/// How long each of them listens, in milliseconds.
const LISTENS_MS: u32 = 10_000;

/// The time between two packets, in microseconds.
const PERIOD_US: f64 = 20_000.0;

fn main() {
    let handset = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    handset.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    let port = handset.local_addr().expect("an address").port();
    let sdp = format!(
        "v=0\no=callee 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0 101\n\
         a=rtpmap:101 telephone-event/8000\n"
    );
    let steps = [
        Step::Invite,
        Step::Answer(180, "Ringing", ""),
        Step::PickUpWith(sdp),
        Step::Wait(LISTENS_MS),
        Step::Info("application/dtmf-relay", "Signal=#\r\n"),
        Step::Receive("BYE"),
    ];
    let callee = Callee::start(&steps, CALLS);
    let gate = TestGate::start(json!({ "use": ["trunk"], "backends": { "trunk": callee.trunk() } }));
    let hearing = std::thread::spawn(move || hear(&handset));
    let (start, cpu) = (Instant::now(), cpu(libc::RUSAGE_SELF));
    for n in 1..=u128::from(CALLS) {
        gate.initiate(id(n), &format!("+1 425555{:04}", 1000 + n));
    }
    let verified = (1..=u128::from(CALLS)).filter(|n| gate.ends(id(*n)).0 == CallStatus::Success).count();
    let took = start.elapsed();
    let (arrivals, heard_cpu) = hearing.join().expect("it heard");
    let spent = self::cpu(libc::RUSAGE_SELF).saturating_sub(cpu).saturating_sub(heard_cpu);
    gate.end();
    callee.finish();

    let mut off: Vec<f64> = Vec::new();
    let mut drift: Vec<f64> = Vec::new();
    for times in arrivals.values().filter(|times| times.len() > 1) {
        let micros = |a: Instant, b: Instant| b.duration_since(a).as_secs_f64() * 1e6;
        off.extend(times.windows(2).map(|pair| (micros(pair[0], pair[1]) - PERIOD_US).abs()));
        let whole = micros(times[0], times[times.len() - 1]);
        drift.push((whole / (times.len() - 1) as f64 - PERIOD_US).abs());
    }
    off.sort_by(f64::total_cmp);
    drift.sort_by(f64::total_cmp);
    let at = |sorted: &[f64], share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
    println!("calls at once, each answered, spoken to for {} s and verified by its key", LISTENS_MS / 1000);
    println!("  placed                                   {CALLS:>10}");
    println!("  verified                                 {verified:>10}");
    println!("  seconds                                  {:>10.1}", took.as_secs_f64());
    println!("  seconds of CPU                           {:>10.2}", spent.as_secs_f64());
    println!("  share of one core, per cent              {:>10.1}", 100.0 * spent.as_secs_f64() / took.as_secs_f64());
    println!("packets that arrived                       {:>10}", off.len() + arrivals.len());
    println!("microseconds off the 20 ms between two packets");
    println!("  median                                   {:>10.0}", at(&off, 0.5));
    println!("  99th percentile                          {:>10.0}", at(&off, 0.99));
    println!("  longest                                  {:>10.0}", at(&off, 1.0));
    println!("drift, microseconds for each packet, worst {:>10.2}", at(&drift, 1.0));
}

/// When packets arrived from whom, until none arrives any more, and the CPU time of that.
fn hear(socket: &UdpSocket) -> (HashMap<SocketAddr, Vec<Instant>>, Duration) {
    let mut arrivals: HashMap<SocketAddr, Vec<Instant>> = HashMap::new();
    let mut buffer = [0; 2048];
    let mut first = true;
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((_, from)) => {
                arrivals.entry(from).or_default().push(Instant::now());
                first = false;
            }
            Err(_) if first => {}
            Err(_) => return (arrivals, cpu(libc::RUSAGE_THREAD)),
        }
    }
}

/// The CPU time of this process, or of this thread.
fn cpu(who: libc::c_int) -> Duration {
    // SAFETY: all zeroes is a valid rusage, and it is a place for the answer.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &mut usage);
        usage
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

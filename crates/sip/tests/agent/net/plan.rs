//! What a PBX and its phones do with one call.

use std::time::Duration;

/// Features that a seed may have. Each can be disabled, to find the ones that a failure needs.
pub const FEATURES: &[&str] = &[
    "tcp",
    "loss",
    "doubling",
    "reordering",
    "cuts",
    "forks",
    "challenges",
    "retries",
    "reliable",
    "early",
    "requests",
    "rejections",
    "cancels",
    "crash",
    "silence",
    "stranger",
    "failing",
    "timers",
    "second call",
    "replies",
    "unannounced",
    "floods",
    "registration",
];

/// Proxies on the way to phones: none, loose ones, and a strict one.
const ROUTES: &[&[&str]] = &[
    &[],
    &["<sip:192.0.2.7:5070;lr>"],
    &["<sip:far.example.net;lr>, <sip:192.0.2.7:5070;lr=on>"],
    &["<sip:far.example.net>", "<sip:strict@192.0.2.7:5070>"],
];

/// The features of a seed: a bit for each of [`FEATURES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(pub u32);

impl Features {
    pub fn has(self, name: &str) -> bool {
        let place = FEATURES.iter().position(|feature| *feature == name);
        self.0 & (1 << place.expect("the feature exists")) != 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenges {
    Never,
    First,
    Each,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancels {
    /// 200 to the CANCEL, 487 to the INVITE.
    Obeyed,
    /// A phone answers at that moment.
    Crossed,
    /// 481 to the CANCEL, and the phones ring on.
    Refused,
}

/// What a phone does after it began to ring.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    Answers(Duration),
    Declines(Duration),
    RingsOn,
}

#[derive(Clone, Copy, Debug)]
pub struct PhonePlan {
    pub rings_after: Duration,
    /// Whether a 180 says that it rings. It is repeated each minute (RFC 3261, 13.3.1.1).
    pub announces: bool,
    pub reliable: bool,
    pub early_media: bool,
    pub then: Then,
}

#[derive(Clone, Debug)]
pub struct Plan {
    /// Nothing is answered, although the phones ring.
    pub silent: bool,
    pub trying: bool,
    pub challenges: Challenges,
    /// 422 to the first INVITE with an interval.
    pub wants_interval: bool,
    /// 302 to the first INVITE.
    pub redirects: bool,
    pub rejection: Option<&'static str>,
    /// What the PBX responds once no phone rings any more.
    pub decline: &'static str,
    pub phones: Vec<PhonePlan>,
    /// Whether a second phone may answer after the first.
    pub several_answer: bool,
    pub cancels: Cancels,
    /// Requests of the phone that answered, each after this pause.
    pub requests: Vec<(Duration, &'static str)>,
    pub session: Option<&'static str>,
    /// Values of Record-Route in responses of phones.
    pub routes: &'static [&'static str],
}

fn millis(random: &mut fastrand::Rng, most: u64) -> Duration {
    Duration::from_millis(random.u64(0..=most))
}

impl Plan {
    pub fn new(random: &mut fastrand::Rng, features: Features) -> Self {
        // The order of what is drawn never depends on a feature, so that leaving one out changes nothing else.
        let mut chance = |feature: &str, percent: u8| {
            let drawn = random.u8(0..100) < percent;
            drawn && features.has(feature)
        };
        let silent = chance("silence", 20);
        let first = chance("challenges", 60);
        let each = chance("challenges", 30);
        let wants_interval = chance("retries", 30);
        let redirects = chance("retries", 30);
        let rejects = chance("rejections", 20);
        let several = chance("forks", 60);
        let several_answer = chance("forks", 50);
        let odd_cancel = chance("cancels", 60);
        let rejected_cancel = chance("cancels", 50);
        let requests = chance("requests", 80);
        let session = chance("timers", 60);
        let rejections = ["403 Forbidden", "404 Not Found", "486 Busy Here", "503 Service Unavailable", "603 Decline"];
        let rejection = rejections[random.usize(0..rejections.len())];
        let decline = rejections[random.usize(0..rejections.len())];
        let phones = (0..3).map(|_| PhonePlan::new(random, features)).collect::<Vec<_>>();
        let count = random.usize(2..=3);
        let methods = ["INVITE", "EMPTY", "UPDATE", "INFO", "OPTIONS", "PING", "BYE"];
        let drawn: Vec<_> = (0..5).map(|_| (millis(random, 40_000), methods[random.usize(0..methods.len())])).collect();
        let routes = ROUTES[random.usize(0..ROUTES.len())];
        let refresher = ["90;refresher=uac", "90;refresher=uas", "90"][random.usize(0..3)];
        Self {
            silent,
            trying: random.bool(),
            challenges: match (first, each) {
                (false, _) => Challenges::Never,
                (true, false) => Challenges::First,
                (true, true) => Challenges::Each,
            },
            wants_interval,
            redirects,
            rejection: rejects.then_some(rejection),
            decline,
            phones: phones[..if several { count } else { 1 }].to_vec(),
            several_answer,
            cancels: match (odd_cancel, rejected_cancel) {
                (false, _) => Cancels::Obeyed,
                (true, false) => Cancels::Crossed,
                (true, true) => Cancels::Refused,
            },
            requests: if requests { drawn } else { Vec::new() },
            session: session.then_some(refresher),
            routes,
        }
    }
}

impl PhonePlan {
    fn new(random: &mut fastrand::Rng, features: Features) -> Self {
        let (later, wait) = (millis(random, 30_000), millis(random, 3_000));
        let then = match random.u8(0..10) {
            0..=5 => Then::Answers(later),
            6..=7 => Then::Declines(later),
            _ => Then::RingsOn,
        };
        let (unannounced, reliable, early_media) = (random.u8(0..100) < 30, random.bool(), random.bool());
        Self {
            rings_after: wait,
            announces: !(unannounced && features.has("unannounced")),
            reliable: reliable && features.has("reliable"),
            early_media: early_media && features.has("early"),
            then,
        }
    }
}

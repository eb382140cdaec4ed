//! A process that uses the store until it is killed, and prints what the store has acknowledged.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use phonegate::call::{CallEvent, CallId, Country, KeyFingerprint, NumberHash};
use phonegate::store::{AttemptChange, DenialLimits, Ended, RecordedChange};

use super::acknowledged::Acknowledged;
use super::*;
use crate::support::approval::verified;

/// The variable that names the file in such a process.
pub const FILE: &str = "PHONEGATE_KILLS_FILE";

/// The variable with the number of rounds of calls that such a process makes before it closes the file.
pub const ROUNDS: &str = "PHONEGATE_KILLS_ROUNDS";

/// Opens the file, records calls and blocks, prints what the store has acknowledged, and closes the file, until the process
/// is killed.
pub fn use_until_killed(file: &Path, rounds: usize) -> ! {
    loop {
        say("opening");
        let store = SqliteStore::open(file).unwrap();
        say("opened");
        wait(async {
            for _ in 0..rounds {
                futures_util::future::join_all((0..8).map(|_| keep_a_call(&store))).await;
            }
        });
        say("closing");
        drop(store);
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).unwrap();
}

async fn keep_a_call(store: &SqliteStore) {
    let hash = NumberHash::parse(&uuid::Uuid::new_v4().simple().to_string()).unwrap();
    let line_hash = NumberHash::parse(&format!("{:032x}", hash.as_bytes()[2] % 4)).unwrap();
    let number = StoredNumber {
        hash,
        line_hash,
        fingerprint: KeyFingerprint::UNKEYED,
        otherwise: Box::default(),
        masked: "+1******1212".into(),
        full: None,
        country: Country::parse("LV"),
    };
    let attempt = Attempt { id: CallId::new(uuid::Uuid::new_v4()).unwrap(), generation: 1 };
    let id = attempt.id;
    let begun = store.begin(&NewAttempt { attempt, number: number.clone(), ..new(1) }, &NO_LIMITS).await.unwrap();
    assert_eq!(begun, Begun::New);
    say(&format!("begun {id}"));
    let step = AttemptChange::Step { event: CallEvent::Ringing, backend: Some("phone".into()), text: None };
    store.record(&[RecordedChange { attempt, at: SystemTime::now(), change: step }]).await.unwrap();
    // Approved, denied, or denied and locked.
    let turn = hash.as_bytes()[1] % 3;
    let denied = || Outcome::Failed(Failure::new(FailureReason::WrongKey, "Another."));
    let outcome = if turn == 0 { verified() } else { denied() };
    let count = if turn == 1 { u64::MAX } else { 1 };
    let first = EndRequest { denials: DenialLimits { count, ..NO_LOCK }, ..end(attempt, SystemTime::now(), outcome) };
    let ended = store.end(&first).await.unwrap();
    assert_eq!(matches!(ended, Ended::Yes { locked_until: Some(_) }), turn == 2);
    assert!(ended.is_done());
    say(&format!("ended {id}"));
    if turn > 0 {
        say(&format!("denied {hash}"));
    }
    if turn == 1 {
        // Once more, and one that is given up.
        for generation in [2, 3] {
            let attempt = Attempt { generation, ..attempt };
            let again = NewAttempt { attempt, number: number.clone(), ..new(1) };
            assert_eq!(store.begin(&again, &NO_LIMITS).await.unwrap(), Begun::New);
            if generation == 2 {
                assert!(store.end(&end(attempt, SystemTime::now(), denied())).await.unwrap().is_done());
            } else {
                let failure = Failure::new(FailureReason::CannotPlace, "No phone rang.");
                let change = AttemptChange::Refused { number: Some(number.clone()), node: "here".into(), failure };
                store.record(&[RecordedChange { attempt, at: SystemTime::now(), change }]).await.unwrap();
            }
        }
    }
    say(&format!("blocking {hash}"));
    let since = SystemTime::now();
    let block = Block {
        number: hash,
        scope: BlockScope::Number,
        masked: number.masked,
        reason: "stolen".into(),
        since,
        until: None,
    };
    store.block(&block).await.unwrap();
    say(&format!("blocked {hash}"));
    if hash.as_bytes()[0].is_multiple_of(2) {
        say(&format!("unblocking {hash}"));
        assert!(store.unblock(hash).await.unwrap());
        say(&format!("unblocked {hash}"));
    }
}

/// A process that prints what the store has acknowledged, and is killed.
pub struct Victim {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Victim {
    /// A process that uses the store: this program again.
    pub fn using(file: &Path, rounds: usize) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["kills::no_kill_damages_the_file_or_loses_what_was_acknowledged", "--exact", "--nocapture"])
            .env(FILE, file)
            .env(ROUNDS, rounds.to_string());
        command
    }

    pub fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Self { process, lines }
    }

    /// Reads until it prints `event`.
    pub fn says(&mut self, event: &str, heard: &mut Acknowledged) {
        let mut line = String::new();
        while !line.starts_with(event) {
            line.clear();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "it says {event}");
            heard.hear(line.trim_end());
        }
    }

    /// Kills it, and reads what it had printed. Returns whether it had ended without an error before.
    pub fn kill(mut self, heard: &mut Acknowledged) -> bool {
        // It may have ended by itself.
        let _ = self.process.kill();
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        // A line without an end was being written.
        rest.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).for_each(|line| heard.hear(line));
        self.process.wait().unwrap().success()
    }
}

//! Processes that use the file are killed (SIGKILL) at random moments. After each kill the file is intact, and holds what
//! was acknowledged before it.
//!
//! `PHONEGATE_KILLS` sets the number of kills, and `PHONEGATE_KILLS_SEED` repeats the choices of an earlier run, but
//! not the scheduling of its processes. A kill loses nothing that the system has; what a power cut does is SQLite's own
//! promise. The file is checked by `sqlite3`, in a process of its own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::RngExt;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::acknowledged::Acknowledged;
use super::victim::{FILE, ROUNDS, Victim, use_until_killed};
use super::*;
use support::calls::{Calls, sqlite3};
use support::host::Host;

/// Number of kills in a run that sets none.
const FEW_KILLS: usize = 15;

/// Kill loops side by side, each with a file of its own.
const LOOPS: usize = 4;

/// Kills after which a loop begins a new file.
const KILLS_A_FILE: usize = 40;

#[test]
fn no_kill_damages_the_file_or_loses_what_was_acknowledged() {
    if let Some(file) = std::env::var_os(FILE) {
        use_until_killed(Path::new(&file), std::env::var(ROUNDS).unwrap().parse().unwrap());
    }
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let kills = number("PHONEGATE_KILLS").map_or(FEW_KILLS, |kills| usize::try_from(kills).unwrap());
    let seed = number("PHONEGATE_KILLS_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    println!("PHONEGATE_KILLS={kills} PHONEGATE_KILLS_SEED={seed}");
    let killed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..LOOPS {
            scope.spawn({
                let killed = &killed;
                move || KillLoop::new(number, seed).run(killed, kills)
            });
        }
    });
    let killed = killed.into_inner();
    println!("{killed} kills, no damage");
    assert!(killed >= kills, "{killed}");
}

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// While it makes a new file.
    Creation,
    /// While it commits, and moves the write-ahead log into a file that grows.
    Commits,
    /// While it closes the file, which writes the log back.
    Close,
    /// While it copies the file and brings it to a newer schema.
    Migration,
    /// While it serves a call through the built library.
    Library,
    /// While the tool copies the file while another process writes.
    Backup,
    /// While the tool changes the block list while another process writes.
    Blocks,
    /// While the tool reads while another process writes.
    Reads,
}

const MOMENTS: [Moment; 8] = [
    Moment::Creation,
    Moment::Commits,
    Moment::Close,
    Moment::Migration,
    Moment::Library,
    Moment::Backup,
    Moment::Blocks,
    Moment::Reads,
];

/// Kills one process after the other that uses a file.
struct KillLoop {
    number: usize,
    random: TestRng,
    folder: TempDir,
    heard: Acknowledged,
    turn: usize,
    on_this_file: usize,
}

impl KillLoop {
    fn new(number: usize, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8] = u8::try_from(number).unwrap();
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut new = Self {
            number,
            random,
            folder: tempfile::tempdir().unwrap(),
            heard: Default::default(),
            turn: 0,
            on_this_file: 0,
        };
        new.begin_file();
        new
    }

    fn begin_file(&mut self) {
        self.folder = tempfile::tempdir().unwrap();
        self.heard = Acknowledged::default();
        self.on_this_file = 0;
        let config = json!({
            "use": ["phone"],
            "allow_test_backends": true,
            "backends": { "phone": { "type": "simulated", "answer_after_ms": 20, "press_after_ms": 20 } },
            "numbers": { "default_country": "US" },
            "limits": no_limits(),
            "call": { "status_wait_ms": 0 },
            "store": { "type": "sqlite", "path": self.file() },
            "log": { "directory": self.folder.path().join("log") },
        });
        std::fs::write(self.config(), config.to_string()).unwrap();
        drop(SqliteStore::open(&self.file()).unwrap());
    }

    fn run(mut self, killed: &AtomicUsize, kills: usize) {
        while killed.load(Ordering::Relaxed) < kills {
            // Each loop begins with another one, so that a short run has them all.
            let moment = MOMENTS[(self.number * MOMENTS.len() / LOOPS + self.turn) % MOMENTS.len()];
            self.turn += 1;
            let now = self.kill_at(moment);
            self.on_this_file += now;
            killed.fetch_add(now, Ordering::Relaxed);
            if self.on_this_file >= KILLS_A_FILE {
                self.begin_file();
            }
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("calls.db")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("phonegate.json")
    }

    fn pause(&mut self, most_ms: u64) {
        let microseconds = self.random.random_range(0..most_ms * 1000);
        std::thread::sleep(Duration::from_micros(microseconds));
    }

    /// Returns how many processes were killed.
    fn kill_at(&mut self, moment: Moment) -> usize {
        let what = format!("loop {}, turn {}, {moment:?}", self.number, self.turn);
        match moment {
            Moment::Creation => self.kill_at_creation(&what),
            Moment::Commits => self.kill_while_used(1_000_000, "begun", 80),
            Moment::Close => self.kill_while_used(1, "closing", 15),
            Moment::Migration => self.kill_while_migrated(&what),
            Moment::Library => {
                let id = uuid::Uuid::new_v4().to_string();
                let mut host = Host::start(self.folder.path(), &id, NUMBER);
                host.logs("started_call");
                self.pause(80);
                host.kill_after(0);
                std::fs::remove_dir_all(self.folder.path().join(format!("state-{id}"))).unwrap_or_default();
            }
            Moment::Backup | Moment::Blocks | Moment::Reads => return self.kill_the_tool(moment, &what),
        }
        self.check(&what);
        1
    }

    /// Checks the file as it was left, by `sqlite3` or after the product has opened it.
    fn check(&mut self, what: &str) {
        if self.random.random_bool(0.5) {
            Calls::of(&self.config()).records(&["blocks", "list"]);
        }
        self.heard.is_in(&self.file(), what);
    }

    fn kill_at_creation(&mut self, what: &str) {
        let file = self.folder.path().join(format!("new-{}.db", self.turn));
        let mut heard = Acknowledged::default();
        let mut user = Victim::start(&mut Victim::using(&file, 1));
        user.says("opening", &mut heard);
        self.pause(40);
        user.kill(&mut heard);
        // The next process goes on with whatever is there.
        let mut next = Victim::start(&mut Victim::using(&file, 1));
        next.says("closing", &mut heard);
        next.kill(&mut heard);
        heard.is_in(&file, what);
    }

    fn kill_while_used(&mut self, rounds: usize, from: &str, most_ms: u64) {
        let mut heard = std::mem::take(&mut self.heard);
        let mut user = Victim::start(&mut Victim::using(&self.file(), rounds));
        user.says(from, &mut heard);
        self.pause(most_ms);
        user.kill(&mut heard);
        self.heard = heard;
    }

    fn kill_while_migrated(&mut self, what: &str) {
        let file = self.folder.path().join(format!("older-{}.db", self.turn));
        sqlite3(&self.file(), &format!("VACUUM INTO '{}'", file.display()));
        let version = |file: &Path| sqlite3(file, "PRAGMA user_version").trim().parse::<u32>().unwrap();
        let older = version(&file);
        let mut heard = self.heard.clone();
        let upgraded = || {
            let mut command = Victim::using(&file, 1);
            command.env("PHONEGATE_FAULT", "store.next_schema");
            Victim::start(&mut command)
        };
        let mut user = upgraded();
        user.says("opening", &mut heard);
        self.pause(45);
        user.kill(&mut heard);
        heard.is_in(&file, what);
        let backups = || {
            phonegate::store::backup_files(&file)
                .into_iter()
                .filter(|path| !path.to_str().unwrap().contains(".unfinished"))
        };
        let check_backups = || {
            for backup in backups() {
                self.heard.is_in(&backup, what);
                assert_eq!(version(&backup), older, "{what}");
            }
        };
        check_backups();
        assert!(version(&file) == older || backups().count() == 1, "{what}: no migration without a backup");
        let mut next = upgraded();
        next.says("opened", &mut heard);
        next.kill(&mut heard);
        heard.is_in(&file, what);
        check_backups();
        assert_eq!((version(&file), backups().count() > 0), (older + 1, true), "{what}");
    }

    /// Kills the tool, and then the other process.
    fn kill_the_tool(&mut self, moment: Moment, what: &str) -> usize {
        let before = self.heard.clone();
        let mut heard = std::mem::take(&mut self.heard);
        let mut user = Victim::start(&mut Victim::using(&self.file(), 50));
        user.says("begun", &mut heard);
        let copy = self.folder.path().join(format!("copy-{}.db", self.turn));
        let number = format!("+1425555{:04}", 1000 + self.turn);
        let hash = admitted(&number).hash().to_string();
        let arguments: &[&str] = match moment {
            Moment::Backup => &["backup", copy.to_str().unwrap()],
            Moment::Blocks => &["blocks", "add", &number],
            _ => &["calls", "--json"],
        };
        if let Moment::Blocks = moment {
            heard.hear(&format!("blocking {hash}"));
        }
        let tool = Victim::start(&mut Calls::of(&self.config()).command(arguments));
        self.pause(150);
        let done = tool.kill(&mut Acknowledged::default());
        if done && matches!(moment, Moment::Blocks) {
            heard.hear(&format!("blocked {hash}"));
        }
        assert!(!done || !matches!(moment, Moment::Backup) || copy.exists(), "{what}: a backup that was acknowledged");
        self.pause(10);
        user.kill(&mut heard);
        self.heard = heard;
        self.check(what);
        if copy.exists() {
            before.is_in(&copy, what);
        }
        2
    }
}

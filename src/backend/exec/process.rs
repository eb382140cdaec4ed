//! A running program: its three standard streams, and its end.
//!
//! Threads read the streams and wait for the end, since on Windows a pipe cannot be read without blocking. The library's
//! threads for blocking operations are too few for that.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, watch};
use zeroize::{Zeroize, Zeroizing};

use super::input::MAX_INPUT;
use crate::platform::ProcessTree;

/// Maximum length of a line, in bytes.
const MAX_LINE: usize = 4_096;

/// Maximum length of the standard output, in bytes.
const MAX_OUTPUT: usize = 65_536;

/// Maximum lines of standard error that are reported, and the maximum length of each, in bytes.
const MAX_ERROR_LINES: usize = 20;
const MAX_ERROR_LINE: usize = 1_000;

/// Maximum length of the standard error, in bytes. A program that writes more is killed.
const MAX_ERROR_OUTPUT: usize = 1_000_000;

/// Time for a program to hang up and to end, once its input is closed.
const GRACE: Duration = Duration::from_secs(5);

/// Maximum time until a program that was killed has ended.
const KILL_LIMIT: Duration = Duration::from_secs(2);

/// Size of the stack of a thread that reads a stream, in bytes.
const STACK: usize = 256 * 1024;

/// What a program wrote.
pub(super) enum Output {
    /// A line of standard output, without its end.
    Line(Zeroizing<Vec<u8>>),
    /// A line of standard error, perhaps shortened.
    ErrorLine(Zeroizing<Vec<u8>>),
    /// Nothing more is read, because the program did this.
    Problem(&'static str),
}

/// A program that was started. It is killed with its children when this is dropped.
pub(super) struct Process {
    tree: Arc<ProcessTree>,
    /// The write end of standard input, which is closed to hang up.
    input: Mutex<Option<PipeWriter>>,
    exit: watch::Receiver<Option<Exit>>,
    was_killed: AtomicBool,
}

/// How a program ended. `None`: the system does not report it.
pub(super) type Exit = Option<ExitStatus>;

/// How a program ended that had to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// By itself, with success.
    Success,
    /// By itself, without success.
    Failure,
    /// It was killed.
    Killed,
    /// It was killed, but the system has not ended it yet.
    Remains,
}

impl Process {
    /// Starts a program, with `input` and nothing more on its standard input. It blocks. Returns the program and what it
    /// writes: the end of that is the end of both streams. `permit` is held until the program and its streams have ended.
    ///
    /// # Errors
    /// It was certainly not started.
    pub(super) fn start(
        command: &mut Command,
        input: &str,
        permit: OwnedSemaphorePermit,
    ) -> io::Result<(Self, UnboundedReceiver<Output>)> {
        if input.len() > MAX_INPUT {
            return Err(io::Error::other("the input is too long"));
        }
        let (stdin, mut to_program) = io::pipe()?;
        // The pipe holds all of it. Once the program runs, a write could end the host by SIGPIPE.
        to_program.write_all(input.as_bytes())?;
        let (from_stdout, stdout) = io::pipe()?;
        let (from_stderr, stderr) = io::pipe()?;
        let (output, received) = unbounded_channel();
        let (exit_sender, exit) = watch::channel(None);
        let (tree_sender, tree_receiver) = std::sync::mpsc::channel::<Arc<ProcessTree>>();
        let permit = Arc::new(permit);
        // All threads are started before the program, which then certainly has them.
        let (sender, held) = (output.clone(), Arc::clone(&permit));
        spawn("phonegate-exec-out", move || {
            read_lines(from_stdout, &sender);
            drop(held);
        })?;
        let held = Arc::clone(&permit);
        spawn("phonegate-exec-err", move || {
            read_error_lines(from_stderr, &output);
            drop(held);
        })?;
        spawn("phonegate-exec-end", move || {
            if let Ok(tree) = tree_receiver.recv() {
                let ended = tree.wait();
                // It is nobody's fault if there is no receiver any more.
                let _ = exit_sender.send(Some(ended.ok()));
            }
            drop(permit);
        })?;
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        let tree = Arc::new(ProcessTree::spawn(command)?);
        // The thread waits for it.
        let _ = tree_sender.send(Arc::clone(&tree));
        let process = Self { tree, input: Mutex::new(Some(to_program)), exit, was_killed: AtomicBool::new(false) };
        Ok((process, received))
    }

    /// Waits until the program ends.
    pub(super) async fn ended(&self) -> Exit {
        let mut exit = self.exit.clone();
        // Without a sender, its thread is gone, and nothing is known.
        exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit).flatten()
    }

    /// Ends the program: closes its input, by which it must hang up, and kills it with its children if it has not ended in
    /// time. Takes at most 7 s.
    pub(super) async fn end(&self) -> Ending {
        drop(self.input.lock().take());
        let killed_before = self.was_killed.load(Ordering::Relaxed);
        match tokio::time::timeout(GRACE, self.ended()).await {
            Ok(_) if killed_before => return Ending::Killed,
            Ok(exit) if exit.is_some_and(|status| status.success()) => return Ending::Success,
            Ok(_) => return Ending::Failure,
            Err(_) => {}
        }
        self.kill();
        match tokio::time::timeout(KILL_LIMIT, self.ended()).await {
            Ok(_) => Ending::Killed,
            Err(_) => Ending::Remains,
        }
    }

    fn kill(&self) {
        self.was_killed.store(true, Ordering::Relaxed);
        self.tree.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work).map(drop)
}

/// Reads the standard output to its end, or to the first problem. Then the pipe is closed, and the program cannot write
/// more.
fn read_lines(mut pipe: PipeReader, output: &UnboundedSender<Output>) {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE));
    let mut total = 0;
    let mut chunk = Zeroizing::new([0; MAX_LINE]);
    while let Some(bytes) = read(&mut pipe, &mut *chunk) {
        total += bytes.len();
        if total > MAX_OUTPUT {
            return report(output, Output::Problem("wrote more than 65,536 bytes"));
        }
        for byte in bytes {
            match byte {
                b'\n' => {
                    report(output, Output::Line(take(&mut line)));
                }
                _ if line.len() == MAX_LINE => {
                    return report(output, Output::Problem("wrote a line of more than 4,096 bytes"));
                }
                byte => line.push(*byte),
            }
        }
    }
    if !line.is_empty() {
        report(output, Output::Problem("ended its output in the middle of a line"));
    }
}

/// Reads the standard error to its end. Reports the first lines.
fn read_error_lines(mut pipe: PipeReader, output: &UnboundedSender<Output>) {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_ERROR_LINE));
    let (mut lines, mut total) = (0, 0);
    let mut chunk = Zeroizing::new([0; MAX_LINE]);
    let mut end_line = |line: &mut Zeroizing<Vec<u8>>| {
        let done = take(line);
        if !done.trim_ascii().is_empty() && lines < MAX_ERROR_LINES {
            lines += 1;
            report(output, Output::ErrorLine(done));
        }
    };
    while let Some(bytes) = read(&mut pipe, &mut *chunk) {
        total += bytes.len();
        if total > MAX_ERROR_OUTPUT {
            return report(output, Output::Problem("wrote more than 1,000,000 bytes to standard error"));
        }
        for byte in bytes {
            match byte {
                b'\n' => end_line(&mut line),
                byte if line.len() < MAX_ERROR_LINE => line.push(*byte),
                _ => {}
            }
        }
    }
    end_line(&mut line);
}

/// Reads what is there. `None`: the stream has ended, or cannot be read.
fn read<'a>(pipe: &mut PipeReader, chunk: &'a mut [u8]) -> Option<&'a [u8]> {
    loop {
        match pipe.read(chunk) {
            Ok(0) => return None,
            Ok(length) => return chunk.get(..length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// Empties the buffer of a line. The copy is no larger than the line: a flood of short lines must stay small.
fn take(line: &mut Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    let done = Zeroizing::new(line.to_vec());
    line.zeroize();
    done
}

fn report(output: &UnboundedSender<Output>, item: Output) {
    // Without a receiver, the call is over.
    let _ = output.send(item);
}

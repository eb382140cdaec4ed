//! A program in a process group of its own.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Maximum open files that are examined one by one, on a system without close_range(2).
const MAX_FILES: libc::rlim_t = 65_536;

/// A program that was started, with the processes that it starts in its turn: they are in its process group, unless they
/// leave it. The caller must call [`ProcessTree::wait`] once, or the program stays a zombie.
pub struct ProcessTree {
    id: libc::pid_t,
    /// `None` once the program has ended and its id may belong to another process.
    child: Mutex<Option<Child>>,
}

impl ProcessTree {
    /// Starts a program in a new process group. It gets no open files of this process but the three that `command`
    /// names.
    ///
    /// # Errors
    /// If it was not started.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let files = max_files();
        command.process_group(0);
        // SAFETY: the closure calls only close_range and fcntl, which are async-signal-safe, and allocates nothing.
        unsafe { command.pre_exec(move || close_on_exec(files)) };
        let child = command.spawn()?;
        let id = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
        Ok(Self { id, child: Mutex::new(Some(child)) })
    }

    /// Waits until the program ends, and kills the processes that remain in its group. Returns how it ended. Only one
    /// thread may wait.
    ///
    /// # Errors
    /// If the system does not report how it ended, because this process ignores SIGCHLD.
    pub fn wait(&self) -> io::Result<ExitStatus> {
        let ended = self.until_ended();
        let mut child = self.lock();
        let Some(mut child) = child.take() else { return Err(io::ErrorKind::NotFound.into()) };
        ended?;
        // The program is a zombie now, so no other process can have its id.
        self.signal();
        child.wait()
    }

    /// Kills the program and its group. Does nothing once it has ended.
    pub fn kill(&self) {
        if self.lock().is_some() {
            self.signal();
        }
    }

    /// Waits until the program ends, and leaves it a zombie.
    fn until_ended(&self) -> io::Result<()> {
        let id = libc::id_t::try_from(self.id).map_err(io::Error::other)?;
        loop {
            let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
            // SAFETY: `info` is a valid place for the answer, which is not read.
            let failed =
                unsafe { libc::waitid(libc::P_PID, id, info.as_mut_ptr(), libc::WEXITED | libc::WNOWAIT) } != 0;
            match failed.then(io::Error::last_os_error) {
                None => return Ok(()),
                Some(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Some(error) => return Err(error),
            }
        }
    }

    fn signal(&self) {
        // SAFETY: kill has no preconditions. The group has the id of the program, which is not reaped yet.
        unsafe { libc::kill(-self.id, libc::SIGKILL) };
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the number of files that this process may open, at most [`MAX_FILES`].
fn max_files() -> libc::c_int {
    let mut limit = libc::rlimit { rlim_cur: MAX_FILES, rlim_max: MAX_FILES };
    // SAFETY: `limit` is a valid place for the answer. If there is none, it keeps its value.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    libc::c_int::try_from(limit.rlim_cur.min(MAX_FILES)).unwrap_or(libc::c_int::MAX)
}

/// Marks every file above standard error to be closed when the program starts. A host may have opened files without that
/// mark.
fn close_on_exec(files: libc::c_int) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        const FIRST: libc::c_uint = 3;
        // SAFETY: it changes a flag of this process's own files, and has no other preconditions.
        let done = unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        if done == 0 {
            return Ok(());
        }
    }
    // The kernel is older than 5.11, or is not Linux.
    for file in 3..files {
        // SAFETY: for a number that is no open file, it returns an error and changes nothing.
        unsafe { libc::fcntl(file, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::io::{Read, pipe};
    use std::os::fd::AsRawFd;

    use super::*;

    /// Starts a shell with its output in a pipe.
    fn shell(script: &str) -> (ProcessTree, io::PipeReader) {
        let (reader, writer) = pipe().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdout(writer);
        (ProcessTree::spawn(&mut command).unwrap(), reader)
    }

    #[test]
    fn a_program_that_ends_takes_its_children_with_it() {
        let (tree, mut output) = shell("sleep 600 & echo started; exit 7");
        assert_eq!(tree.wait().unwrap().code(), Some(7));
        // The sleeping child has the pipe open as long as it lives.
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert_eq!(text, "started\n");
    }

    #[test]
    fn a_program_that_is_killed_takes_its_children_with_it() {
        let (tree, mut output) = shell("sleep 600 & echo started; wait");
        let mut started = [0; 8];
        output.read_exact(&mut started).unwrap();
        tree.kill();
        assert!(!tree.wait().unwrap().success());
        assert_eq!(output.read(&mut started).unwrap(), 0);
        tree.kill();
    }

    #[test]
    fn a_program_gets_no_other_files() {
        let (mut other, writer) = pipe().unwrap();
        // SAFETY: it removes the mark from a file of this test.
        assert_eq!(unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFD, 0) }, 0);
        let (tree, mut output) = shell("echo started; cat");
        let mut started = [0; 8];
        output.read_exact(&mut started).unwrap();
        drop(writer);
        // It would wait for the program if that had the file.
        assert_eq!(other.read(&mut started).unwrap(), 0);
        tree.kill();
        tree.wait().unwrap();
    }
}

//! A program in a job of its own.

use std::io;
use std::mem::size_of;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::os::windows::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, PoisonError};

use windows_sys::Win32::Foundation::{INVALID_HANDLE_VALUE, WAIT_OBJECT_0};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
    TerminateJobObject,
};
use windows_sys::Win32::System::Threading::{
    CREATE_NO_WINDOW, CREATE_SUSPENDED, INFINITE, OpenThread, ResumeThread, THREAD_SUSPEND_RESUME, WaitForSingleObject,
};

/// A program that was started, with the processes that it starts in its turn: they are in its job, which they cannot
/// leave. Windows ends them all when this process ends.
pub struct ProcessTree {
    job: OwnedHandle,
    /// The program's own handle, which stays open as long as `child` does.
    process: ProcessHandle,
    child: Mutex<Child>,
}

/// A handle of a process, which any thread may use.
struct ProcessHandle(RawHandle);

// SAFETY: Windows allows any thread of a process to use its handles.
unsafe impl Send for ProcessHandle {}
// SAFETY: waiting for a process changes nothing.
unsafe impl Sync for ProcessHandle {}

impl ProcessTree {
    /// Starts a program without a window, in a new job. Of the handles of this process it gets the three that `command`
    /// names, and those that the host itself has marked as inheritable.
    ///
    /// # Errors
    /// If it was not started, or could not be put into its job: then it was ended before its first instruction.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let job = new_job()?;
        // Until it is resumed, it cannot start a process outside of the job.
        let mut child = command.creation_flags(CREATE_NO_WINDOW | CREATE_SUSPENDED).spawn()?;
        if let Err(error) = assign(&job, &child).and_then(|()| resume(child.id())) {
            // It has run no instruction yet.
            let _ = child.kill();
            return Err(error);
        }
        Ok(Self { job, process: ProcessHandle(child.as_raw_handle()), child: Mutex::new(child) })
    }

    /// Waits until the program ends, and ends the other processes of its job. Returns how it ended.
    ///
    /// # Errors
    /// If the system does not report how it ended.
    pub fn wait(&self) -> io::Result<ExitStatus> {
        // SAFETY: the handle is open as long as `self.child` is.
        if unsafe { WaitForSingleObject(self.process.0, INFINITE) } != WAIT_OBJECT_0 {
            return Err(io::Error::last_os_error());
        }
        self.kill();
        self.child.lock().unwrap_or_else(PoisonError::into_inner).wait()
    }

    /// Ends all processes of the job.
    pub fn kill(&self) {
        // SAFETY: the handle of the job is open. A job without processes may be terminated, too.
        unsafe { TerminateJobObject(self.job.as_raw_handle(), 1) };
    }
}

/// Creates a job that Windows ends when its last handle is closed.
fn new_job() -> io::Result<OwnedHandle> {
    // SAFETY: neither security attributes nor a name are given.
    let job = unsafe { CreateJobObjectW(std::ptr::null(), std::ptr::null()) };
    if job.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was opened above, and has no other owner.
    let job = unsafe { OwnedHandle::from_raw_handle(job) };
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    let size = size_of::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>() as u32;
    // SAFETY: the class says what `limits` is, and it has as many bytes as is said.
    let set = unsafe {
        SetInformationJobObject(
            job.as_raw_handle(),
            JobObjectExtendedLimitInformation,
            (&raw const limits).cast(),
            size,
        )
    };
    if set == 0 { Err(io::Error::last_os_error()) } else { Ok(job) }
}

fn assign(job: &OwnedHandle, child: &Child) -> io::Result<()> {
    // SAFETY: both handles are open.
    match unsafe { AssignProcessToJobObject(job.as_raw_handle(), child.as_raw_handle()) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Resumes the one thread of a process that was created suspended. std does not return the handle of this thread, so it
/// is found among the threads of the system.
fn resume(process: u32) -> io::Result<()> {
    // SAFETY: it takes a copy of the system's list, and has no preconditions.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was opened above, and has no other owner.
    let snapshot = unsafe { OwnedHandle::from_raw_handle(snapshot) };
    let mut entry = THREADENTRY32 { dwSize: size_of::<THREADENTRY32>() as u32, ..THREADENTRY32::default() };
    // SAFETY: `entry` is a valid place for the answer, and says its size.
    let mut found = unsafe { Thread32First(snapshot.as_raw_handle(), &mut entry) };
    while found != 0 {
        if entry.th32OwnerProcessID == process {
            return resume_thread(entry.th32ThreadID);
        }
        // SAFETY: as above.
        found = unsafe { Thread32Next(snapshot.as_raw_handle(), &mut entry) };
    }
    Err(io::Error::other("the thread of the new process was not found"))
}

fn resume_thread(id: u32) -> io::Result<()> {
    // SAFETY: it has no preconditions.
    let thread = unsafe { OpenThread(THREAD_SUSPEND_RESUME, 0, id) };
    if thread.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was opened above, and has no other owner.
    let thread = unsafe { OwnedHandle::from_raw_handle(thread) };
    // SAFETY: the handle is open, with the right to resume.
    match unsafe { ResumeThread(thread.as_raw_handle()) } {
        u32::MAX => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

//! The resources that this process uses (Linux).

/// Memory, files and threads.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Resident memory, in bytes. What is free, but kept by the allocator, does not count.
    pub memory: usize,
    /// Open files and sockets.
    pub files: usize,
    pub threads: usize,
}

impl Held {
    pub fn now() -> Self {
        // SAFETY: it may be called at any time.
        unsafe { libc::malloc_trim(0) };
        let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc has figures of this process");
        let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
        let entries = |folder: &str| std::fs::read_dir(folder).expect("/proc has figures of this process").count();
        Self { memory: pages * 4096, files: entries("/proc/self/fd"), threads: entries("/proc/self/task") }
    }
}

/// Raises this process's limit of open files and sockets to this number.
pub fn allow_files(count: usize) {
    // SAFETY: a place for the answer, which outlives the calls.
    unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = limit.rlim_cur.max(count as u64).min(limit.rlim_max);
        assert!(limit.rlim_cur >= count as u64, "this needs {count} open files: raise the hard limit (ulimit -Hn)");
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
}

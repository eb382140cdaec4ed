//! Memory followed by an inaccessible page: a byte read or written too far ends the test.

use std::ffi::c_char;

/// Bytes of which the last one is at the end of a page.
pub struct Guarded {
    map: *mut u8,
    map_length: usize,
    length: usize,
}

impl Guarded {
    /// `bytes`, and nothing after them.
    pub fn new(bytes: &[u8]) -> Self {
        // SAFETY: a fresh mapping of our own, of which the last page is closed.
        unsafe {
            let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap();
            let usable = bytes.len().div_ceil(page).max(1) * page;
            let map_length = usable + page;
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let map = libc::mmap(std::ptr::null_mut(), map_length, access, flags, -1, 0);
            assert_ne!(map, libc::MAP_FAILED);
            let map = map.cast::<u8>();
            assert_eq!(libc::mprotect(map.add(usable).cast(), page, libc::PROT_NONE), 0);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), map.add(usable - bytes.len()), bytes.len());
            Self { map, map_length, length: bytes.len() }
        }
    }

    /// Returns a pointer to the first byte.
    pub fn start(&self) -> *mut c_char {
        // SAFETY: the bytes end one page before the end of the mapping.
        unsafe { self.bytes_start().cast() }
    }

    /// The bytes as they are now.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `new` has written this many bytes there.
        unsafe { std::slice::from_raw_parts(self.bytes_start(), self.length) }
    }

    unsafe fn bytes_start(&self) -> *mut u8 {
        // SAFETY: within the mapping.
        unsafe {
            let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap();
            self.map.add(self.map_length - page - self.length)
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: this value owns the mapping, and no other code has its address any more.
        unsafe { libc::munmap(self.map.cast(), self.map_length) };
    }
}

//! Loads memory into the processor's cache before it is needed.

use std::sync::Weak;

/// Bytes that a processor loads at once.
#[cfg(target_arch = "x86_64")]
const CACHE_LINE: usize = 64;

/// Starts to load a shared value, with its counters of references, and does not wait for it. Has no effect if the value was
/// dropped, and on other processors than x86-64.
pub fn prefetch<T>(value: &Weak<T>) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let counters = 2 * size_of::<usize>();
        let start = value.as_ptr().cast::<i8>().wrapping_sub(counters);
        for offset in (0..counters + size_of::<T>()).step_by(CACHE_LINE) {
            // SAFETY: a prefetch is a hint. The processor ignores an address that is not mapped.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

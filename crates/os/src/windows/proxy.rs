//! The machine's proxy, as `netsh winhttp set proxy` sets it for services.

use windows_sys::Win32::Foundation::GlobalFree;
use windows_sys::Win32::Networking::WinHttp::{
    WINHTTP_ACCESS_TYPE_NAMED_PROXY, WINHTTP_PROXY_INFO, WinHttpGetDefaultProxyConfiguration,
};
use windows_sys::core::PWSTR;

use crate::MachineProxy;

/// Returns the proxy of WinHTTP. `None` if it has none.
pub fn machine_proxy() -> Option<MachineProxy> {
    let mut info = WINHTTP_PROXY_INFO::default();
    // SAFETY: `info` is a valid place for the answer.
    let done = unsafe { WinHttpGetDefaultProxyConfiguration(&raw mut info) };
    if done == 0 {
        return None;
    }
    // SAFETY: the call above has filled both, or left them null.
    let (proxies, bypass) = unsafe { (take(info.lpszProxy), take(info.lpszProxyBypass)) };
    let named = info.dwAccessType == WINHTTP_ACCESS_TYPE_NAMED_PROXY;
    named.then_some(()).and(proxies).map(|proxies| MachineProxy { proxies, bypass: bypass.unwrap_or_default() })
}

/// Copies out a text that Windows has allocated, and frees it.
///
/// # Safety
/// The text is null, or NUL-terminated, allocated by GlobalAlloc, and used no more.
unsafe fn take(text: PWSTR) -> Option<String> {
    if text.is_null() {
        return None;
    }
    let mut length = 0;
    // SAFETY: no unit before the NUL is the end of the text.
    while unsafe { text.add(length).read() } != 0 {
        length += 1;
    }
    // SAFETY: this many units were read above.
    let copy = String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(text, length) });
    // SAFETY: it was allocated by GlobalAlloc, as the function's documentation says.
    unsafe { GlobalFree(text.cast()) };
    Some(copy)
}

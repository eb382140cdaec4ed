//! Secrets sealed by the Data Protection API with the key of this machine: they cannot be opened on another machine.
//! Every program on this machine can open them, so the permissions of the file with the sealed text must protect it.
//!
//! <https://learn.microsoft.com/windows/win32/api/dpapi/nf-dpapi-cryptprotectdata>

use std::io;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Cryptography::{
    CRYPT_INTEGER_BLOB, CRYPTPROTECT_LOCAL_MACHINE, CRYPTPROTECT_UI_FORBIDDEN, CryptProtectData, CryptUnprotectData,
};
use zeroize::{Zeroize, Zeroizing};

/// Entropy for sealing and opening, so that only secrets that PhoneGate sealed can be opened. It must never change:
/// sealed secrets could not be opened any more. `docs/store.md` has it, too, in the command that prints a number key.
const ENTROPY: &[u8] = b"PhoneGate secret, version 1";

const FLAGS: u32 = CRYPTPROTECT_LOCAL_MACHINE | CRYPTPROTECT_UI_FORBIDDEN;

/// Seals a secret for this machine.
///
/// # Errors
/// The error of Windows.
pub fn seal(secret: &[u8]) -> io::Result<Vec<u8>> {
    let (secret, entropy) = (blob(secret)?, blob(ENTROPY)?);
    let mut sealed = CRYPT_INTEGER_BLOB::default();
    // SAFETY: both blobs lie in slices that outlive the call, which only reads them; the pointers that may be null are.
    let done = unsafe {
        CryptProtectData(
            &raw const secret,
            std::ptr::null(),
            &raw const entropy,
            std::ptr::null(),
            std::ptr::null(),
            FLAGS,
            &raw mut sealed,
        )
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has filled it.
    Ok(unsafe { take(sealed) }.to_vec())
}

/// Opens a secret that [`seal`] sealed on this machine.
///
/// # Errors
/// The error of Windows, also if the secret was sealed on another machine or by another program.
pub fn open(sealed: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let (sealed, entropy) = (blob(sealed)?, blob(ENTROPY)?);
    let mut secret = CRYPT_INTEGER_BLOB::default();
    // SAFETY: as in `seal`.
    let done = unsafe {
        CryptUnprotectData(
            &raw const sealed,
            std::ptr::null_mut(),
            &raw const entropy,
            std::ptr::null(),
            std::ptr::null(),
            FLAGS,
            &raw mut secret,
        )
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has filled it.
    Ok(unsafe { take(secret) })
}

/// Returns the bytes in the form that these functions take. They do not write to their input.
fn blob(bytes: &[u8]) -> io::Result<CRYPT_INTEGER_BLOB> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    Ok(CRYPT_INTEGER_BLOB { cbData: length, pbData: bytes.as_ptr().cast_mut() })
}

/// Copies bytes that Windows has allocated, then wipes and frees them.
///
/// # Safety
/// The blob was filled by one of the functions above, and is used no more.
unsafe fn take(blob: CRYPT_INTEGER_BLOB) -> Zeroizing<Vec<u8>> {
    let mut copy = Zeroizing::new(Vec::new());
    if !blob.pbData.is_null() {
        // SAFETY: Windows reports this length, and nothing else refers to the bytes.
        let bytes = unsafe { std::slice::from_raw_parts_mut(blob.pbData, blob.cbData as usize) };
        copy.extend_from_slice(bytes);
        bytes.zeroize();
        // SAFETY: it was allocated by LocalAlloc, as the functions' documentation says.
        unsafe { LocalFree(blob.pbData.cast()) };
    }
    copy
}

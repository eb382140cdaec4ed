//! Secrets sealed by the Data Protection API with the key of this machine, so that whoever may read the text may not
//! therefore read the secret on another one. Every program on this machine could open them: the permissions of the file
//! that holds the text are what guards it here.
//!
//! <https://learn.microsoft.com/windows/win32/api/dpapi/nf-dpapi-cryptprotectdata>

use std::io;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Cryptography::{
    CRYPT_INTEGER_BLOB, CRYPTPROTECT_LOCAL_MACHINE, CRYPTPROTECT_UI_FORBIDDEN, CryptProtectData, CryptUnprotectData,
};
use zeroize::{Zeroize, Zeroizing};

/// Told to Windows at sealing and at opening, so that what another program has sealed is no secret of PhoneGate's.
/// Never changed: it would make what is sealed already useless.
const ENTROPY: &[u8] = b"PhoneGate secret, version 1";

const FLAGS: u32 = CRYPTPROTECT_LOCAL_MACHINE | CRYPTPROTECT_UI_FORBIDDEN;

/// Seals a secret for this machine.
///
/// # Errors
/// What Windows says.
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

/// Opens what [`seal`] has sealed on this machine.
///
/// # Errors
/// What Windows says; also where it was sealed on another machine, or by another program.
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

/// Bytes as these functions want them, which do not write to what they get.
fn blob(bytes: &[u8]) -> io::Result<CRYPT_INTEGER_BLOB> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    Ok(CRYPT_INTEGER_BLOB { cbData: length, pbData: bytes.as_ptr().cast_mut() })
}

/// Copies out what Windows has allocated, wipes and frees it.
///
/// # Safety
/// The blob was filled by one of the functions above, and is used no more.
unsafe fn take(blob: CRYPT_INTEGER_BLOB) -> Zeroizing<Vec<u8>> {
    let mut copy = Zeroizing::new(Vec::new());
    if !blob.pbData.is_null() {
        // SAFETY: Windows says that so many bytes lie there, and nobody else knows of them.
        let bytes = unsafe { std::slice::from_raw_parts_mut(blob.pbData, blob.cbData as usize) };
        copy.extend_from_slice(bytes);
        bytes.zeroize();
        // SAFETY: it was allocated by LocalAlloc, as the functions' documentation says.
        unsafe { LocalFree(blob.pbData.cast()) };
    }
    copy
}

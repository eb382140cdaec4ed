//! The hash that identifies a library: the SHA-256 of its file without an Authenticode signature, so that a customer
//! can sign it. The build script uses this file too, to give the tool the hash of the library that it is shipped with.
//!
//! As Authenticode does, it leaves out the checksum, the entry of the certificate table in the header, and that table
//! itself, and counts the zeros with which a signer fills the file up to a multiple of eight bytes:
//! <https://learn.microsoft.com/windows/win32/debug/pe-format#process-for-generating-the-authenticode-pe-image-hash>.
//! Unlike Authenticode it counts everything else, also what is between and behind the sections.

use std::ops::Range;

use sha2::{Digest, Sha256};

/// A signer fills the file with zeros up to a multiple of this, and puts the certificate table behind them.
const ALIGNMENT: usize = 8;

/// Returns the hash in lower-case hexadecimal. For a file that is not a portable executable, all bytes are hashed.
pub fn of(file: &[u8]) -> String {
    let mut hash = Sha256::new();
    match hashed_parts(file) {
        None => hash.update(file),
        Some(parts) => {
            let end = parts.last().map_or(0, |part| part.end);
            parts.into_iter().filter_map(|part| file.get(part)).for_each(|part| hash.update(part));
            let missing = end.next_multiple_of(ALIGNMENT) - end;
            hash.update([0; ALIGNMENT].get(..missing).unwrap_or_default());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The parts of a portable executable that a signer does not change. What comes after them is the certificate table:
/// nothing in it is loaded, and since the hash covers all headers of sections, no section can be moved into it.
fn hashed_parts(file: &[u8]) -> Option<[Range<usize>; 3]> {
    const POINTER_TO_HEADERS: usize = 0x3c;
    const SIGNATURE: &[u8] = b"PE\0\0";
    const FILE_HEADER_BYTES: usize = 20;
    // Offsets in the optional header. The data directories have eight bytes each; the fifth is the certificate table.
    const CHECKSUM: usize = 64;
    let directories = |magic| match magic {
        0x10b => Some(96),
        0x20b => Some(112),
        _ => None,
    };
    const CERTIFICATE_TABLE: usize = 4 * 8;

    let headers = file.starts_with(b"MZ").then(|| number(file, POINTER_TO_HEADERS)).flatten()?;
    let optional = headers.checked_add(SIGNATURE.len() + FILE_HEADER_BYTES)?;
    if file.get(headers..)?.get(..SIGNATURE.len())? != SIGNATURE {
        return None;
    }
    let directories = optional.checked_add(directories(number(file, optional)? & 0xffff)?)?;
    // The number of directories is in the four bytes before them.
    if number(file, directories.checked_sub(4)?)? <= 4 {
        return None;
    }
    let checksum = optional.checked_add(CHECKSUM)?;
    let entry = directories.checked_add(CERTIFICATE_TABLE)?;
    let end = match number(file, entry)? {
        0 => file.len(),
        // A table inside the headers is not valid.
        table if table >= entry.checked_add(8)? && table <= file.len() => table,
        _ => return None,
    };
    Some([0..checksum, checksum.checked_add(4)?..entry, entry.checked_add(8)?..end])
}

/// Four bytes, the lowest first.
fn number(file: &[u8], at: usize) -> Option<usize> {
    let bytes = file.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn run(command: &mut Command, package: &str) -> String {
        let name = command.get_program().to_string_lossy().into_owned();
        let ran =
            command.output().map_err(|error| format!("this test needs {name} (apt-get install {package}): {error}"));
        let ran = ran.unwrap();
        let said = [ran.stdout, ran.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        assert!(ran.status.success(), "{said}");
        said
    }

    /// A library for each kind of processor.
    fn compiled(folder: &Path, platform: &str) -> std::path::PathBuf {
        let (source, out) = (folder.join("library.cs"), folder.join(format!("{platform}.dll")));
        std::fs::write(&source, "public class Library { }").unwrap();
        let options =
            ["-target:library".to_owned(), format!("-platform:{platform}"), format!("-out:{}", out.display())];
        run(Command::new("mcs").args(options).arg(source), "mono-mcs mono-devel");
        out
    }

    /// As a customer's administrator does. Returns the signed file, and the digest in the signature.
    fn signed(file: &Path) -> (Vec<u8>, String) {
        let folder = file.parent().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut certificate = rcgen::CertificateParams::new(["Contoso".to_owned()]).unwrap();
        certificate.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::CodeSigning];
        let (pem, key_pem) = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&pem, certificate.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&key_pem, key.serialize_pem()).unwrap();
        let out = file.with_extension("signed");
        // It replaces no file.
        let _ = std::fs::remove_file(&out);
        let mut sign = Command::new("osslsigncode");
        sign.args(["sign", "-h", "sha256", "-certs"]).arg(pem).arg("-key").arg(key_pem);
        run(sign.arg("-in").arg(file).arg("-out").arg(&out), "osslsigncode");
        // It refuses the issuer, whom nobody knows, but says what it has read.
        let verified = Command::new("osslsigncode").arg("verify").arg(&out).output().unwrap();
        let said = String::from_utf8_lossy(&verified.stdout).to_lowercase();
        let digest = said.lines().find_map(|line| line.split_once("calculated message digest")?.1.split_once(':'));
        (std::fs::read(&out).unwrap(), digest.unwrap().1.trim().to_owned())
    }

    #[test]
    fn a_signature_changes_no_hash_and_every_other_byte_does() {
        let folder = tempfile::tempdir().unwrap();
        for platform in ["x64", "x86"] {
            let file = compiled(folder.path(), platform);
            let mut unsigned = std::fs::read(&file).unwrap();
            // One whose length is not a multiple of eight is filled up by the signer.
            for _ in 0..2 {
                let hash = of(&unsigned);
                std::fs::write(&file, &unsigned).unwrap();
                let (signed, digest) = signed(&file);
                assert_ne!(signed, unsigned);
                assert_eq!((of(&signed), &hash), (digest, &hash), "it is Authenticode's own");
                for at in [0, unsigned.len() / 2, unsigned.len() - 1] {
                    for file in [&unsigned, &signed] {
                        let mut changed = file.clone();
                        changed[at] ^= 1;
                        assert_ne!(of(&changed), hash, "byte {at}");
                    }
                }
                unsigned.extend([1, 2, 3]);
                assert_ne!(of(&unsigned), hash, "what is appended counts");
            }
        }
    }

    /// An entry that takes code for a signature does not hide it.
    #[test]
    fn a_certificate_table_that_begins_earlier_is_no_signature() {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::read(compiled(folder.path(), "x64")).unwrap();
        let entry = hashed_parts(&file).unwrap()[1].end;
        for table in [1, entry + 8, file.len() / 2, file.len() - 8, file.len() + 8] {
            let mut changed = file.clone();
            changed[entry..entry + 4].copy_from_slice(&u32::try_from(table).unwrap().to_le_bytes());
            assert_ne!(of(&changed), of(&file), "{table}");
        }
    }

    #[test]
    fn other_and_truncated_files_are_hashed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::read(compiled(folder.path(), "x64")).unwrap();
        let whole = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for bytes in [&b""[..], b"MZ", b"\x7fELF", &file[..0x40], &file[..0x90], &file[..0xa0]] {
            assert_eq!(of(bytes), whole(bytes), "{} bytes", bytes.len());
        }
    }
}

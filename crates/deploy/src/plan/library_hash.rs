//! Computes the hash that identifies a library: the SHA-256 of its file without an Authenticode signature, so that a
//! customer can sign it. The build script of the tool includes this file to hash the library that belongs to it.
//!
//! Like Authenticode, it excludes the checksum, the header's entry for the certificate table, and that table, and
//! includes the zeros with which a signer pads the file to a multiple of eight bytes:
//! <https://learn.microsoft.com/windows/win32/debug/pe-format#process-for-generating-the-authenticode-pe-image-hash>.
//! Unlike Authenticode, it includes all other bytes, such as those between and after the sections.

use std::ops::Range;

use sha2::{Digest, Sha256};

/// A signer pads the file with zeros to a multiple of this number of bytes, and appends the certificate table.
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

/// Returns the parts of a portable executable that a signer does not change. The certificate table follows them. Windows
/// loads nothing from it, and no section can be moved into it, because the hash covers the section headers.
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

/// Reads four bytes in little-endian order.
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

    /// Compiles a library for a platform.
    fn compiled(folder: &Path, platform: &str) -> std::path::PathBuf {
        let (source, out) = (folder.join("library.cs"), folder.join(format!("{platform}.dll")));
        std::fs::write(&source, "public class Library { }").unwrap();
        let options =
            ["-target:library".to_owned(), format!("-platform:{platform}"), format!("-out:{}", out.display())];
        run(Command::new("mcs").args(options).arg(source), "mono-mcs mono-devel");
        out
    }

    /// Signs a file as an administrator would. Returns the signed file, and the digest in the signature.
    fn signed(file: &Path) -> (Vec<u8>, String) {
        let folder = file.parent().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut certificate = rcgen::CertificateParams::new(["Contoso".to_owned()]).unwrap();
        certificate.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::CodeSigning];
        let (pem, key_pem) = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&pem, certificate.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&key_pem, key.serialize_pem()).unwrap();
        let out = file.with_extension("signed");
        // osslsigncode does not replace files.
        let _ = std::fs::remove_file(&out);
        let mut sign = Command::new("osslsigncode");
        sign.args(["sign", "-h", "sha256", "-certs"]).arg(pem).arg("-key").arg(key_pem);
        run(sign.arg("-in").arg(file).arg("-out").arg(&out), "osslsigncode");
        // It rejects the unknown issuer, but prints the digest.
        let verified = Command::new("osslsigncode").arg("verify").arg(&out).output().unwrap();
        let said = String::from_utf8_lossy(&verified.stdout).to_lowercase();
        let digest = said.lines().find_map(|line| line.split_once("calculated message digest")?.1.split_once(':'));
        (std::fs::read(&out).unwrap(), digest.unwrap().1.trim().to_owned())
    }

    #[test]
    fn a_signature_keeps_the_hash_and_other_bytes_change_it() {
        let folder = tempfile::tempdir().unwrap();
        for platform in ["x64", "x86"] {
            let file = compiled(folder.path(), platform);
            let mut unsigned = std::fs::read(&file).unwrap();
            // In the second round the length is not a multiple of eight, so the signer pads the file.
            for _ in 0..2 {
                let hash = of(&unsigned);
                std::fs::write(&file, &unsigned).unwrap();
                let (signed, digest) = signed(&file);
                assert_ne!(signed, unsigned);
                assert_eq!((of(&signed), &hash), (digest, &hash), "it equals Authenticode's digest");
                for at in [0, unsigned.len() / 2, unsigned.len() - 1] {
                    for file in [&unsigned, &signed] {
                        let mut changed = file.clone();
                        changed[at] ^= 1;
                        assert_ne!(of(&changed), hash, "byte {at}");
                    }
                }
                unsigned.extend([1, 2, 3]);
                assert_ne!(of(&unsigned), hash, "appended bytes change it");
            }
        }
    }

    /// An entry that declares code to be the signature does not exclude it from the hash.
    #[test]
    fn a_certificate_table_inside_the_code_is_not_excluded() {
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

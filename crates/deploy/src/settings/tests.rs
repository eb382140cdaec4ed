//! Edits of files as they occur on real machines, and of damaged ones.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
use super::*;

const DLL: &str = r"C:\Program Files\Microsoft Forefront Identity Manager\2010\Service\CustomPhoneGate.dll";

fn with(file: impl AsRef<[u8]>) -> Vec<u8> {
    let once = with_provider(file.as_ref(), DLL).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(provider(&once).map_err(|error| error.to_string()), Ok(Some(DLL.to_owned())));
    let again = with_provider(&once, DLL).unwrap_or_else(|error| panic!("{error}"));
    assert!(again == once, "{}\n{}", String::from_utf8_lossy(&once), String::from_utf8_lossy(&again));
    once
}

fn rejection(file: impl AsRef<[u8]>) -> String {
    let file = file.as_ref();
    let text = with_provider(file, DLL).map(|_| ()).unwrap_err().message;
    assert_eq!(provider(file).unwrap_err().message, text);
    assert_eq!(masked(file).unwrap_err().message, text);
    text
}

fn utf16(text: &str, bom: [u8; 2]) -> Vec<u8> {
    let unit = if bom == [0xFF, 0xFE] { u16::to_le_bytes } else { u16::to_be_bytes };
    bom.into_iter().chain(text.encode_utf16().flat_map(unit)).collect()
}

#[test]
fn an_edit_leaves_one_entry_and_keeps_all_else() {
    let old = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<?note keep?>\r\n<!-- above -->\r\n\
               <m:Settings xmlns:m=\"urn:m\" version='1' >\r\n\t<LICENSE_KEY>a &amp; b</LICENSE_KEY>\r\n\t\
               <!-- within -->\r\n\t<GROUP_KEY a=\"1\"><x/>k</GROUP_KEY>\r\n\t<username/>\r\n</m:Settings>\r\n<!-- below -->";
    let new = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<?note keep?>\r\n<!-- above -->\r\n\
         <m:Settings xmlns:m=\"urn:m\" version='1' >\r\n\t<CustomPhoneProvider>{DLL}</CustomPhoneProvider>\r\n\t\
         <!-- within -->\r\n</m:Settings>\r\n<!-- below -->"
    );
    assert_eq!(String::from_utf8(with(old)).unwrap(), new);
}

#[test]
fn an_existing_provider_is_replaced_in_place() {
    let other = "<a>\n  <X/>\n  <CustomPhoneProvider >\"C:\\Other.dll\"\n</CustomPhoneProvider>\n  <Y/>\n</a>";
    assert_eq!(provider(other.as_bytes()).ok(), Some(Some("\"C:\\Other.dll\"".to_owned())));
    assert_eq!(other_entries(other.as_bytes()).ok(), Some(vec!["X".to_owned(), "Y".to_owned()]));
    let new = format!("<a>\n  <CustomPhoneProvider>{DLL}</CustomPhoneProvider>\n</a>");
    assert_eq!(String::from_utf8(with(other)).unwrap(), new);
}

#[test]
fn several_providers_become_one() {
    let twice = "<a><CustomPhoneProvider>x</CustomPhoneProvider><CustomPhoneProvider>y</CustomPhoneProvider></a>";
    assert!(provider(twice.as_bytes()).unwrap_err().message.contains("several"));
    assert_eq!(with(twice), format!("<a><CustomPhoneProvider>{DLL}</CustomPhoneProvider></a>").into_bytes());
}

#[test]
fn an_entry_in_another_case_is_cleared() {
    let old = "<a><customphoneprovider>C:\\x.dll</customphoneprovider></a>";
    assert_eq!(provider(old.as_bytes()).ok(), Some(None));
    assert_eq!(with(old), format!("<a><CustomPhoneProvider>{DLL}</CustomPhoneProvider></a>").into_bytes());
}

#[test]
fn a_root_without_entries_gets_one_on_its_own_line() {
    let line = format!("<CustomPhoneProvider>{DLL}</CustomPhoneProvider>");
    for (old, new) in [
        ("<a/>", format!("<a>\n  {line}\n</a>")),
        ("<a b='c' />\r\n", format!("<a b='c'>\r\n  {line}\r\n</a>\r\n")),
        ("<a></a>", format!("<a>\n  {line}\n</a>")),
        ("<a>\r\n</a>", format!("<a>\r\n  {line}\r\n</a>")),
        ("<a>\n  <!-- none -->\n</a>", format!("<a>\n  {line}\n  <!-- none -->\n</a>")),
    ] {
        assert_eq!(String::from_utf8(with(old)).unwrap(), new);
    }
}

#[test]
fn an_entry_keeps_the_namespace_prefix_of_the_root() {
    let old = "<m:a xmlns:m=\"urn:m\"><m:KEY>k</m:KEY></m:a>";
    let new = format!("<m:a xmlns:m=\"urn:m\"><m:CustomPhoneProvider>{DLL}</m:CustomPhoneProvider></m:a>");
    assert_eq!(with(old), new.into_bytes());
}

#[test]
fn every_encoding_keeps_its_bytes_and_byte_order_mark() {
    let text = |label: &str, rest: &str| {
        format!("<?xml version=\"1.0\" encoding=\"{label}\"?>\r\n<a>\r\n<!-- é -->{rest}</a>")
    };
    let entry = format!("<CustomPhoneProvider>{DLL}</CustomPhoneProvider>");
    let (old, new) = (text("utf-8", "<X>ü</X>"), text("utf-8", &entry));
    assert_eq!(with(&old), new.as_bytes());
    assert_eq!(with(["\u{feff}", &old].concat()), ["\u{feff}", &new].concat().as_bytes());
    for (label, mark) in [("utf-16", [0xFF, 0xFE]), ("UTF-16", [0xFE, 0xFF])] {
        assert_eq!(with(utf16(&text(label, "<X>ü</X>"), mark)), utf16(&text(label, &entry), mark));
    }
    // Bytes beyond ASCII of an older encoding are kept.
    for label in ["windows-1252", "ISO-8859-1", "windows-1250", "shift_jis"] {
        let bytes = |rest: &str| text(label, rest).replace('é', "?").into_bytes();
        let swap = |mut bytes: Vec<u8>| {
            let at = bytes.windows(6).position(|bytes| bytes == b"<!-- ?").unwrap() + 5;
            bytes.splice(at..=at, if label == "shift_jis" { vec![0x83, 0x41] } else { vec![0xE9] });
            bytes
        };
        assert_eq!(with(swap(bytes("<X>k</X>"))), swap(bytes(&entry)), "{label}");
    }
}

#[test]
fn a_path_is_read_back_as_it_was_written() {
    for path in [r"D:\R&D <x>\Größe\日本 'x';\Gate.dll", r"\\server\share\a]]>b&amp;.dll"] {
        for file in ["<a/>", "<?xml version='1.0' encoding='windows-1252'?><a/>"] {
            let new = with_provider(file.as_bytes(), path).map_err(|error| error.to_string()).unwrap();
            assert_eq!(provider(&new).ok(), Some(Some(path.to_owned())), "{}", String::from_utf8_lossy(&new));
        }
    }
    for path in ["", "\"C:\\quoted.dll\"", "C:\\a\nb.dll", "C:\\a\0.dll"] {
        assert!(with_provider(b"<a/>", path).is_err(), "{path:?}");
    }
}

#[test]
fn a_malformed_file_is_rejected_with_the_reason() {
    for (file, fault) in [
        ("", "no root element"),
        ("  \r\n", "no root element"),
        ("<!-- only -->", "no root element"),
        ("<a>", "cut off"),
        ("<a>\n<b>\n</a>", "line 3 has an end tag"),
        ("</a>", "line 1 has an end tag"),
        ("<a/>\n<b/>", "line 2 begins a second root"),
        ("<a/>text", "text outside"),
        ("text<a/>", "text outside"),
        ("<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///c:/x'>]><a>&e;</a>", "DOCTYPE"),
        ("<a>&unknown;</a>", "entity"),
        ("<a>\n R&D </a>", "line 2 has an &"),
        ("<a>&#0;</a>", "entity"),
        ("<a b=1/>", "tag that is not well-formed"),
        ("<a b='1' b='2'/>", "tag that is not well-formed"),
        ("<a <b/>", "line 1"),
        ("<a><!-- x", "comment"),
        ("<a><![CDATA[x</a>", "CDATA"),
        ("<a>\u{1}</a>", "forbids"),
        ("\n<?xml version='1.0'?><a/>", "very beginning"),
        ("<?xml version='1.0' encoding='klingon'?><a/>", "klingon, which PhoneGate does not know"),
        ("<?xml version='1.0' encoding='utf-16'?><a/>", "utf-16, which it is not in"),
        ("<?xml version='1.0' encoding='iso-2022-jp'?><a/>", "iso-2022-jp, which it is not in"),
        ("\u{feff}<?xml version='1.0' encoding='windows-1252'?><a/>", "is marked as UTF-8"),
    ] {
        let text = rejection(file);
        assert!(text.starts_with(FILE_NAME) && text.contains(fault), "{file:?}: {text}");
    }
    assert!(rejection(b"<a>\xFF</a>").contains("UTF-8"));
    assert!(rejection(b"<\0a\0/\0>\0").contains("without a byte order mark"));
    assert!(
        rejection(utf16("<?xml version='1.0' encoding='utf-8'?><a/>", [0xFF, 0xFE])).contains("marked as UTF-16LE")
    );
    assert!(rejection([0xFF, 0xFE, 0x3C, 0x00, 0x61]).contains("UTF-16LE"));
}

#[test]
fn no_error_quotes_the_file() {
    for file in
        ["<a><KEY>s3cret</s3cret></a>", "<a>&s3cret;</a>", "<a b=s3cret/>", "<s3cret", "s3cret<a/>", "<a s3cret"]
    {
        let text = rejection(file);
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[test]
fn a_diff_shows_no_secret() {
    let old = "<?xml version=\"1.0\"?>\r\n<?pi s3cret?>\r\n<Root xmlns=\"urn:x\" key=\"s3cret\">\r\n  <!-- <KEY>s3cret</KEY> -->\r\n\
               \u{20} <LICENSE_KEY>s3cret</LICENSE_KEY>\r\n  <CERT_PASSWORD><![CDATA[s3cret]]>&amp;s3cret</CERT_PASSWORD>\r\n\
               \u{20} <add key='s3cret' value=\"s3cret\"/>\r\n  <USERNAME>s3cret\r\ns3cret</USERNAME>\r\n  s3cret\r\n\
               \u{20} <deep><CustomPhoneProvider>s3cret</CustomPhoneProvider></deep>\r\n\
               \u{20} <CustomPhoneProvider>C:\\Other.dll<x>s3cret</x></CustomPhoneProvider>\r\n</Root>\r\n";
    let shown = diff(old.as_bytes(), &with(old)).map_err(|error| error.to_string()).unwrap();
    assert!(!shown.contains("s3cret"), "{shown}");
    let expected = format!(
        "--- MfaSettings.xml before\n+++ MfaSettings.xml after\n@@ -2,11 +2,7 @@\n <?…?>\n \
         <Root xmlns=\"urn:x\" key=\"…\">\n   <!-- … -->\n-  <LICENSE_KEY>…</LICENSE_KEY>\n\
         -  <CERT_PASSWORD>…</CERT_PASSWORD>\n-  <add key=\"…\" value=\"…\"/>\n-  <USERNAME>…</USERNAME>\n   …\n\
         -  <deep><CustomPhoneProvider>…</CustomPhoneProvider></deep>\n\
         -  <CustomPhoneProvider>C:\\Other.dll<x>…</x></CustomPhoneProvider>\n\
         +  \n+  <CustomPhoneProvider>{DLL}</CustomPhoneProvider>\n </Root>\n"
    );
    assert_eq!(shown, expected);
    assert_eq!(diff(old.as_bytes(), old.as_bytes()).ok().as_deref(), Some(""));
}

#[test]
fn a_damaged_file_never_makes_the_editor_panic() {
    let whole = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<m:a xmlns:m=\"u\"><!-- é --><X b='1'>&amp;&#x41;<![CDATA[x]]></X>\
                 <CustomPhoneProvider>x</CustomPhoneProvider><?p i?></m:a>";
    let mut random = fastrand::Rng::with_seed(1998);
    for file in [whole.as_bytes().to_vec(), utf16(whole, [0xFF, 0xFE]), utf16(whole, [0xFE, 0xFF])] {
        for _ in 0..20_000 {
            let mut file = file.clone();
            for _ in 0..random.usize(1..=4) {
                let at = random.usize(..file.len());
                match random.u8(0..3) {
                    0 => file.truncate(at.max(1)),
                    1 => file.insert(at, *random.choice(b"<>/&;\"'!?-[]x\0 ").unwrap()),
                    _ => file.splice(at..=at, [random.u8(..)]).for_each(drop),
                }
            }
            if let Ok(new) = with_provider(&file, DLL) {
                assert_eq!(with(&file), new);
                diff(&file, &new).map_err(|error| error.to_string()).unwrap();
            }
        }
    }
}

#[test]
fn a_missing_or_huge_file_is_rejected_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    let text = read(&path).unwrap_err().to_string();
    assert!(text.contains("there is no") && text.contains("--service-dir"), "{text}");
    std::fs::write(&path, vec![b' '; MAX_BYTES as usize + 1]).unwrap();
    assert!(read(&path).unwrap_err().message.contains("larger than"));
}

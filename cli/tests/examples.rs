//! Each configuration in `examples/` works as its README says.

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use phonegate::config;
use serde_json::{Value, json};
use support::ports::{free_port, unused_address};
use support::{NUMBER, Place, Ran, Running, wait_until};

fn examples() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect();
    found.sort();
    found
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn each_example_is_valid_and_in_the_readme() {
    let examples = examples();
    assert_eq!(
        examples.iter().map(|path| name(path)).collect::<Vec<_>>(),
        ["demo.json", "file.json", "http.json", "sip.json", "twilio.json"]
    );
    let readme = std::fs::read_to_string(examples[0].with_file_name("README.md")).unwrap();
    for path in examples {
        config::load(&path, &phonegate::TYPES).unwrap_or_else(|error| panic!("{error}"));
        assert!(readme.contains(&format!("`{}`", name(&path))), "{}", path.display());
    }
}

/// The gate starts with each of them and with its secrets. Only the address of the provider is replaced by one at which
/// no program listens.
#[test]
fn a_gate_starts_with_every_example() {
    let address = format!("http://{}", unused_address());
    for path in examples() {
        let text = std::fs::read_to_string(&path).unwrap().replace("https://calls.contoso.com", &address);
        let mut config: Value = serde_json::from_str(&text).unwrap();
        let is_cloud = config["backends"]["cloud"].is_object();
        let is_web = config["backends"]["web"].is_object();
        let is_real = is_cloud || is_web || config["backends"]["trunk"].is_object();
        if is_cloud {
            config["backends"]["cloud"]["base_url"] = json!(address);
            config["backends"]["cloud"]["local_peer"] = json!(true);
        } else if is_web {
            config["backends"]["web"]["local_peer"] = json!(true);
        } else if is_real {
            config["backends"]["trunk"]["trunk"] = json!(address.replace("http://", "sip:") + ";transport=tcp");
        }
        let place = Place::with(&config);
        let mut command = place.command(&["check", "--json"]);
        if is_cloud {
            let ran = Ran::from(command.output().unwrap()).exits(2);
            assert!(ran.stderr.contains("backends.cloud.api_key_secret"), "{}", ran.stderr);
        }
        command.env("TWILIO_API_KEY_SECRET", "secret").env("CALL_SERVICE_TOKEN", "secret");
        let ran = Ran::from(command.output().unwrap());
        let ran = ran.exits(i32::from(is_real));
        assert_eq!(ran.record("backend")["result"], if is_real { "failed" } else { "ok" }, "{}", path.display());
        assert!(!is_real || ran.stdout.contains("cannot be reached"), "{}", ran.stdout);
    }
}

#[test]
fn the_demo_example_verifies() {
    let demo = examples().into_iter().find(|path| name(path) == "demo.json").unwrap();
    Place::empty().run(&["call", NUMBER, "--config", demo.to_str().unwrap()]).exits(0);
}

/// The telephone of `examples/baresip` in a terminal of its own, started by the README's command.
struct Telephone {
    terminal: Child,
    folder: PathBuf,
}

impl Telephone {
    fn start(folder: &Path, command: &str) -> Self {
        let log = || File::options().create(true).append(true).open(folder.join("terminal.log")).unwrap();
        let terminal = support::tool("script", "bsdutils")
            .args(["--quiet", "--return", "--flush", "--command", command, "/dev/null"])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(log())
            .stderr(log())
            .spawn()
            .unwrap();
        Self { terminal, folder: folder.to_owned() }
    }

    /// Returns the text on the terminal.
    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join("terminal.log")).unwrap()).into_owned()
    }

    /// Waits until this text is on the terminal.
    fn shows(&self, words: &str) {
        wait_until(&format!("{words:?} on the terminal"), || {
            let log = self.log();
            assert!(!log.contains("not found"), "this test needs baresip: apt-get install baresip-core");
            log.contains(words)
        });
    }

    fn press(&mut self, key: &str) {
        self.terminal.stdin.as_mut().unwrap().write_all(key.as_bytes()).unwrap();
    }
}

impl Drop for Telephone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        // baresip ends with its terminal.
        let _ = self.terminal.kill();
        let _ = self.terminal.wait();
    }
}

/// Places the call of the README's commands. `press` approves it after it was answered. The telephone has the configuration
/// of the example, with another port and folder for recordings; that of the gate also has `keys`.
fn first_call(keys: Value, press: impl FnOnce(&mut Telephone, &dyn Fn() -> Vec<u8>)) {
    let place = Place::empty();
    let examples = place.path().join("examples");
    fs::create_dir_all(examples.join("baresip")).unwrap();
    let project = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let address = format!("127.0.0.1:{}", free_port());
    let recordings = format!("snd_path {}", place.path().display());
    for (file, changes) in [
        ("sip.json", &[("127.0.0.1:5080", address.as_str())][..]),
        ("baresip/config", &[("127.0.0.1:5080", &address), ("snd_path                /tmp", &recordings)]),
        ("baresip/accounts", &[]),
    ] {
        let mut text = fs::read_to_string(project.join("examples").join(file)).unwrap();
        for (from, to) in changes {
            assert_eq!(text.matches(from).count(), 1, "{from} in {file}");
            text = text.replace(from, to);
        }
        fs::write(examples.join(file), text).unwrap();
    }
    let mut config: Value = serde_json::from_slice(&fs::read(examples.join("sip.json")).unwrap()).unwrap();
    config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    fs::write(examples.join("sip.json"), config.to_string()).unwrap();
    let readme = fs::read_to_string(project.join("README.md")).unwrap();
    let command = |start: &str| {
        let line = readme.lines().find_map(|line| line.strip_prefix(start)).expect("the README has the command");
        line.split('#').next().unwrap().trim()
    };

    let baresip = format!("baresip {}", command("baresip "));
    let mut telephone = Telephone::start(place.path(), &baresip);
    telephone.shows("baresip is ready");
    let arguments: Vec<_> = command("cargo run -p phonegate-cli -- ").split_whitespace().collect();
    let call = Running::start(&mut place.command(&arguments));
    telephone.shows("Incoming call");
    telephone.press("a");
    telephone.shows("Call established");
    let recording = || {
        let is_recording = |name: &str| name.starts_with("dump-") && name.ends_with("-dec.wav");
        let files = place.path().read_dir().unwrap().map(|entry| entry.unwrap());
        let recorded: Vec<_> = files.filter(|file| is_recording(file.file_name().to_str().unwrap())).collect();
        assert!(recorded.len() <= 1, "{recorded:?}");
        recorded.first().map(|file| fs::read(file.path()).unwrap()).unwrap_or_default()
    };
    press(&mut telephone, &recording);
    let ran = call.wait().exits(0);
    assert!(ran.stdout.contains("Verified"), "{}", ran.stdout);
    telephone.press("q");
    assert!(telephone.terminal.wait().unwrap().success(), "baresip ends when q is pressed");
    // What the user heard: more than the header of a WAV file.
    assert!(recording().len() > 1_000);
}

/// The samples of G.711 (mu-law) in a WAV file of PhoneGate's prompts.
fn mu_law(wav: &[u8]) -> Vec<i16> {
    let data = wav.windows(4).position(|name| name == b"data").unwrap() + 8;
    let decoded = wav[data..].iter().map(|byte| {
        let bits = i32::from(!byte);
        let magnitude = ((((bits & 15) << 3) + 0x84) << ((bits >> 4) & 7)) - 0x84;
        i16::try_from(if bits & 0x80 == 0 { magnitude } else { -magnitude }).unwrap()
    });
    decoded.collect()
}

/// Returns the digits that a recording of 16-bit samples contains, in their order. A digit is recognized by 200 samples, of
/// which at most 10 differ.
fn digits_in(recording: &[u8]) -> String {
    let heard: Vec<_> = recording.chunks_exact(2).map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]])).collect();
    let mut found = Vec::new();
    for digit in '0'..='9' {
        let file = format!("{}/../prompts/en-US/digit_{digit}.wav", env!("CARGO_MANIFEST_DIR"));
        let spoken = mu_law(&fs::read(file).unwrap());
        let middle = &spoken[spoken.len() / 2 - 100..spoken.len() / 2 + 100];
        let is_here = |heard: &[i16]| heard.iter().zip(middle).filter(|(heard, said)| heard != said).nth(10).is_none();
        let places = heard.windows(middle.len()).enumerate().filter(|(_, heard)| is_here(heard));
        found.extend(places.map(|(place, _)| (place, digit)));
    }
    found.sort_unstable();
    found.into_iter().map(|(_, digit)| digit).collect()
}

#[test]
fn sip_example_is_approved_by_the_code_that_the_call_says() {
    first_call(json!({}), |telephone, recording| {
        let mut code = String::new();
        wait_until("the code is said twice", || {
            // A lost packet may hide a digit, but not the same one in a repeat.
            let heard = digits_in(&recording());
            let said_twice =
                |start: usize| heard.get(start..start + 3).filter(|said| heard[start + 3..].starts_with(said));
            code = (0..heard.len().saturating_sub(5)).find_map(said_twice).unwrap_or_default().to_owned();
            !code.is_empty()
        });
        code.chars().chain(['#']).for_each(|key| telephone.press(&key.to_string()));
    });
}

/// As the README says for a machine without sound.
#[test]
fn sip_example_with_pound_is_approved_without_sound() {
    first_call(json!({ "approval": { "method": "pound" } }), |telephone, _| {
        // In the first second of the prompt a key is too early.
        std::thread::sleep(Duration::from_millis(2_500));
        telephone.press("#");
    });
}

//! Polls in C#, under Mono: through the shim and the built library, and what a provider in C# would do instead.

use std::path::Path;
use std::process::Command;

/// A provider, the number of known calls, and nanoseconds a poll.
pub struct Poll {
    pub provider: String,
    pub known: usize,
    pub nanoseconds: f64,
}

/// Compiles the shim as `phonegate install` does, and measures it, in a process of its own.
pub fn polls(known: &[usize]) -> Vec<Poll> {
    const CONTRACT: &str = "Microsoft.IdentityManagement.PhoneServiceProviderContract.dll";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).into_os_string().into_string().expect("a path in UTF-8");
    let (contract, shim, poll) = (path(CONTRACT), path("CustomPhoneGate.dll"), path("Poll.exe"));
    let reference = format!("-r:{contract}");
    let clr_2 = ["-sdk:2", "-langversion:3", "-target:library"];
    compile(&contract, "shim/contract/PhoneServiceProvider.cs", &clr_2);
    compile(&shim, "shim/CustomPhoneGate.cs", &[&clr_2[..], &[&reference]].concat());
    compile(&poll, "benches/abi/Poll.cs", &[&reference]);
    std::fs::copy(crate::host::library_path(), path("libphonegate.so")).expect("the library is copied");
    let config = crate::host::config(serde_json::json!({ "type": "memory" }));
    std::fs::write(path("phonegate.json"), config.to_string()).expect("the configuration is written");

    let mut mono = Command::new("mono");
    mono.arg(poll).arg(shim).arg(folder.path()).args(known.iter().map(ToString::to_string));
    let printed = output(mono.env_remove("PHONEGATE_CONFIG"), "mono-devel");
    printed.lines().filter_map(read).collect()
}

fn read(line: &str) -> Option<Poll> {
    let mut fields = line.split('\t');
    let (provider, known, nanoseconds) = (fields.next()?.to_owned(), fields.next()?, fields.next()?);
    Some(Poll { provider, known: known.parse().ok()?, nanoseconds: nanoseconds.parse().ok()? })
}

fn compile(output_path: &str, source: &str, options: &[&str]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let mut compiler = Command::new("mcs");
    compiler.args(["-optimize+", "-warnaserror"]).args(options).arg(format!("-out:{output_path}")).arg(source);
    output(&mut compiler, "mono-mcs mono-devel");
}

/// Returns the output of a program. Ends the process if the program is missing or fails.
fn output(command: &mut Command, packages: &str) -> String {
    let ran = command.output().unwrap_or_else(|error| {
        eprintln!("{}: {error}; install it: apt-get install {packages}", command.get_program().display());
        std::process::exit(1);
    });
    if !ran.status.success() {
        eprintln!("{command:?} failed: {}", String::from_utf8_lossy(&ran.stderr));
        std::process::exit(1);
    }
    String::from_utf8_lossy(&ran.stdout).into_owned()
}
